"""`springtide dashboards push|pull|diff` against a Grafana that records what it is asked."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dashboards.grafana_json import FOLDER
from infra.settings import UserError
from streams.cli import load

SmallGrafana = Any  # of conftest.py
TOKEN = "glsa_a-token-of-the-test"
HEALTH = "/dashboards/uid/springtide-health"
Run = Callable[..., tuple[int, str]]


@pytest.fixture
def run(grafana: SmallGrafana, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> Run:
    """Exit code and output of `springtide dashboards …`."""
    for name, value in (
        ("GRAFANA_URL", grafana.url),
        ("GRAFANA_TOKEN", TOKEN),
        ("CLICKHOUSE_URL", "clickhouse://reader:s3cret%21@ch.example:9440/tide?secure=1"),
        ("PROMETHEUS_URL", "http://prometheus.example:9090"),
        ("ALERTMANAGER_URL", "http://alertmanager.example:9093"),
    ):
        monkeypatch.setenv(f"SPRINGTIDE_{name}", value)

    def command(*arguments: str) -> tuple[int, str]:
        code = load("dashboards").main(args=arguments, standalone_mode=False) or 0
        return code, capsys.readouterr().out

    return command


def test_a_push_makes_everything_once(grafana: SmallGrafana, run: Run) -> None:
    code, said = run("push")
    assert code == 0, said
    made = grafana.writes()
    assert [(method, path) for method, path, _ in made] == [
        ("POST", "/api/folders"),
        ("POST", "/api/datasources"),
        ("POST", "/api/datasources"),
        *[("POST", "/api/dashboards/db")] * 5,
        ("POST", "/api/v1/provisioning/contact-points"),
        *[("POST", "/api/v1/provisioning/alert-rules")] * 3,
    ]
    assert made[0][2] == {"title": "Springtide", "uid": "springtide"}
    assert made[2][2]["secureJsonData"] == {"password": "s3cret!"}
    assert made[2][2]["jsonData"] | {"springtide_digest": ""} == {
        "protocol": "native", "host": "ch.example", "port": 9440, "secure": True,
        "username": "reader", "defaultDatabase": "tide", "springtide_digest": "",
    }  # fmt: skip
    board = made[3][2]
    assert (board["folderUid"], board["overwrite"]) == ("springtide", False)
    stamp = board["dashboard"]["templating"]["list"].pop()
    assert (stamp["type"], stamp["hide"]) == ("constant", 2)
    assert board["dashboard"] == json.loads((FOLDER / "springtide-health.json").read_text("utf-8"))
    assert made[8][2]["settings"] == {"url": "http://alertmanager.example:9093"}
    assert made[9][2]["notification_settings"] == {"receiver": "springtide"}
    assert "s3cret" not in said

    code, said = run("push")
    assert (code, said) == (0, "nothing to do: Grafana has it all\n")
    assert len(grafana.writes()) == len(made)
    assert run("diff") == (0, "no difference\n")


def test_what_hands_did_is_told_and_left_alone(
    grafana: SmallGrafana, run: Run, tmp_path: Path
) -> None:
    run("push")
    by_hand = grafana.kept[HEALTH]["dashboard"]
    before_panels = len(by_hand["panels"])
    by_hand["panels"][0]["title"] = "Mine"
    by_hand["panels"].append({"type": "text", "title": "Notes"})
    rule = grafana.kept["/v1/provisioning/alert-rules/springtide-archive-behind"]
    rule["for"] = "1h"
    before = len(grafana.writes())

    code, said = run("diff")
    assert code == 1
    assert "panels[0].title: 'Events · 事件' here, 'Mine' in Grafana" in said
    assert f"panels: {before_panels} here, {before_panels + 1} in Grafana" in said
    assert "for: '5m' here, '1h' in Grafana" in said
    code, said = run("push")
    assert code == 1 and "2 edited by hand and left alone" in said
    assert len(grafana.writes()) == before

    run("pull", "--out", str(tmp_path))
    pulled = json.loads((tmp_path / "dashboard-springtide-health.json").read_text("utf-8"))
    assert pulled["panels"][0]["title"] == "Mine"
    assert pulled["templating"]["list"][-1]["name"] == "tenant"  # no stamp, no ids
    assert not {"id", "version"} & pulled.keys()

    code, said = run("push", "--force")
    assert code == 0 and said.count("was edited") == 2
    assert run("diff") == (0, "no difference\n")


def test_what_an_older_version_pushed_is_replaced_without_asking(
    grafana: SmallGrafana, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dashboards import grafana_json

    with monkeypatch.context() as older:
        older.setattr(grafana_json, "HEIGHT", 7)
        run("push")
    code, said = run("diff")
    assert code == 1 and said.count("outdated") == 5
    code, said = run("push")
    assert code == 0 and said.count("was outdated") == 5
    puts = [body for _, path, body in grafana.writes() if path.endswith("/db")][5:]
    assert [body["overwrite"] for body in puts] == [True] * 5
    assert run("diff") == (0, "no difference\n")


def test_without_a_receiver_there_is_no_contact_point(
    grafana: SmallGrafana, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SPRINGTIDE_ALERTMANAGER_URL")
    run("push")
    paths = [path for _, path, _ in grafana.writes()]
    assert "/api/v1/provisioning/contact-points" not in paths
    assert all("notification_settings" not in (body or {}) for _, _, body in grafana.writes())


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("GRAFANA_TOKEN", "", "SPRINGTIDE_GRAFANA_TOKEN"),
        ("GRAFANA_TOKEN", "wrong", "refuses the token"),
        ("GRAFANA_URL", "http://127.0.0.1:9", "does not answer"),
        ("CLICKHOUSE_URL", "clickhouse://:s3cret@", "SPRINGTIDE_CLICKHOUSE_URL"),
    ],
)
def test_what_stops_a_push_is_one_line(
    run: Run, monkeypatch: pytest.MonkeyPatch, name: str, value: str, said: str
) -> None:
    monkeypatch.setenv(f"SPRINGTIDE_{name}", value)
    with pytest.raises(UserError, match=said) as raised:
        run("push")
    assert "\n" not in str(raised.value) and "s3cret" not in str(raised.value)


def test_an_export_is_what_the_repository_has(run: Run, tmp_path: Path) -> None:
    run("export", "--out", str(tmp_path))
    assert {path.relative_to(tmp_path) for path in tmp_path.rglob("*.*")} >= {
        Path("json/springtide-health.json"),
        Path("provisioning/alerting/springtide.yaml"),
    }
    assert run("export", "--out", str(tmp_path))[1].startswith("nothing to do")
