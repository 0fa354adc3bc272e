"""The webhook receiver: keeps what is Alertmanager's, within bounds; refuses the rest in words."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from infra.local import webhook
from infra.local.webhook import Kept, Receiver, read_kept


@pytest.fixture
def client(tmp_path: Path) -> Iterator[httpx.Client]:
    receiver = Receiver(tmp_path / "alerts.jsonl", 0)
    serving = threading.Thread(target=receiver.serve_forever, args=(0.01,))
    serving.start()
    with httpx.Client(base_url=f"http://127.0.0.1:{receiver.server_port}") as made:
        yield made
    receiver.shutdown()
    receiver.server_close()
    serving.join()


def test_what_is_posted_is_kept_and_shown(client: httpx.Client, tmp_path: Path) -> None:
    for n in range(60):
        assert client.post("/hook", json={"alerts": [{"n": n}]}).json() == {"kept": 1}
    shown = client.get("/").json()
    assert [each["alerts"][0]["n"] for each in shown] == list(range(10, 60))
    assert len(read_kept(tmp_path / "alerts.jsonl")) == 60


@pytest.mark.parametrize(
    ("body", "status"),
    [(b"{", 400), (b"[]", 422), (b'{"alerts": 1}', 422), (b"\xff", 400), (b"x" * 1_000_001, 413)],
)
def test_what_is_no_alert_is_refused(client: httpx.Client, body: bytes, status: int) -> None:
    answer = client.post("/", content=body)
    assert answer.status_code == status and "error" in answer.json()
    assert client.get("/").json() == []


def test_the_file_is_bounded_and_a_line_cut_off_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webhook, "MAX_KEPT", 10)
    path = tmp_path / "deep" / "alerts.jsonl"
    kept = Kept(path)
    for n in range(45):
        kept.add({"alerts": [], "n": n})
        assert len(path.read_text().splitlines()) < 20
    assert [each["n"] for each in kept.last(10)] == list(range(35, 45))
    with path.open("a") as file:
        file.write('{"alerts": [')
    assert Kept(path).last(1) == [{"alerts": [], "n": 44}]
    assert read_kept(tmp_path / "nowhere") == []
