"""Settings: from the environment, flags over it, secrets from files, and none of them shown."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from infra.settings import FETCHED, UserError, _tell_of_misspelt, host_and_port, load_settings

SECRET = "redis://u:hunter2@redis.example:6379/0"


@pytest.fixture(autouse=True)
def empty_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("SPRINGTIDE_"):
            monkeypatch.delenv(name)


def test_a_secret_may_come_from_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "redis").write_text(SECRET + "\n")
    monkeypatch.setenv("SPRINGTIDE_REDIS_URL_FILE", str(tmp_path / "redis"))
    settings = load_settings()
    assert settings.redis_url.get_secret_value() == SECRET
    assert "redis_url" in settings.model_fields_set  # `springtide local` uses it, starts none
    assert load_settings(redis_url="redis://h:1").redis_url.get_secret_value() == "redis://h:1"


def test_no_representation_of_settings_holds_a_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    urls = {
        "KAFKA_URL": "kafkas://u:hunter2@h:1",
        "REDIS_URL": SECRET,
        "CLICKHOUSE_URL": "clickhouses://u:hunter2@h:1/d",
        "GRAFANA_TOKEN": "hunter2",
    }
    for name, value in urls.items():
        monkeypatch.setenv(f"SPRINGTIDE_{name}", value)
    settings = load_settings()
    for text in (repr(settings), str(settings), settings.model_dump_json(), repr(vars(settings))):
        assert "hunter2" not in text


def test_a_secret_file_that_cannot_be_used_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SPRINGTIDE_REDIS_URL_FILE", str(tmp_path / "none"))
    with pytest.raises(UserError, match=r"SPRINGTIDE_REDIS_URL_FILE=.*No such file"):
        load_settings()
    (tmp_path / "none").write_text("\n")
    with pytest.raises(UserError, match="the file is empty"):
        load_settings()
    monkeypatch.setenv("SPRINGTIDE_REDIS_URL", SECRET)
    with pytest.raises(UserError, match="both set") as both:
        load_settings()
    assert "hunter2" not in str(both.value)


def test_a_value_that_cannot_be_used_is_shown_unless_it_is_secret(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SPRINGTIDE_MAX_USERS", "many")
    with pytest.raises(UserError, match=r"SPRINGTIDE_MAX_USERS: .*\(got 'many'\)"):
        load_settings()
    with pytest.raises(UserError, match="SPRINGTIDE_GRAFANA_TOKEN") as refused:
        load_settings(max_users=1, grafana_token=["hunter2"])
    assert "hunter2" not in str(refused.value)


def test_a_variable_that_is_nearly_a_setting_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("HOLD_ITEM", "KAFKA_URLS", "REDIS_URL_FILE", "SHARED", "API_PORT_8080_TCP_ADDR"):
        monkeypatch.setenv(f"SPRINGTIDE_{name}", "x")
    _tell_of_misspelt.cache_clear()
    _tell_of_misspelt()
    assert capsys.readouterr().err.splitlines() == [
        "springtide: SPRINGTIDE_HOLD_ITEM is no setting; did you mean SPRINGTIDE_HOLD_ITEMS?",
        "springtide: SPRINGTIDE_KAFKA_URLS is no setting; did you mean SPRINGTIDE_KAFKA_URL?",
    ]


def test_a_kafka_that_was_fetched_is_found_unless_another_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("KAFKA_HOME", raising=False)
    monkeypatch.setenv("SPRINGTIDE_DATA_DIR", str(tmp_path))
    assert load_settings().kafka_folder is None
    (tmp_path / FETCHED / "libs").mkdir(parents=True)
    assert load_settings().kafka_folder is None  # broken off
    (tmp_path / FETCHED / "libs/kafka_2.13-4.3.1.jar").touch()
    assert load_settings().kafka_folder == tmp_path / FETCHED
    monkeypatch.setenv("KAFKA_HOME", "/opt/kafka")
    assert load_settings().kafka_folder == Path("/opt/kafka")


@pytest.mark.parametrize("url", ["redis://u:hunter2@", "redis://u:hunter2@h:port", "hunter2"])
def test_an_unusable_url_is_told_without_its_password(url: str) -> None:
    with pytest.raises(UserError, match="not a usable URL") as refused:
        host_and_port(url, 1)
    assert "hunter2" not in str(refused.value)
