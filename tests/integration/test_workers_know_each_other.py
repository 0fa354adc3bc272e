"""Two workers on the real Kafka: each knows what the users of both did, and nothing twice."""

from __future__ import annotations

import re
import signal
import time
import urllib.request
from typing import Any

import pytest

from streams import topics

pytestmark = pytest.mark.kafka


def counted(url: str) -> tuple[int, int]:
    """Interactions a worker learned, and increments it took from others."""
    text = urllib.request.urlopen(f"{url}/metrics", timeout=5).read().decode()
    learned = re.search(r"^springtide_learned_total (\S+)", text, re.M)
    taken = re.search(r'^springtide_deltas_total{what="increments"} (\S+)', text, re.M)
    return tuple(int(float(m[1])) if m else 0 for m in (learned, taken))  # type: ignore[return-value]


def clicks(make_event: Any, start: int, count: int) -> list[Any]:
    """Distinct clicks of forty users."""
    return [
        make_event("click", start + n, f"u{n % 40}", f"i{(n * 7 + n // 40) % 90}")
        for n in range(count)
    ]


def until(condition: Any, timeout: float = 30) -> None:
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, "it did not come to pass"
        time.sleep(0.2)


def test_each_worker_knows_the_whole_stream_once(deployment: Any, make_event: Any) -> None:
    processes, urls = [], []
    for _ in range(2):
        worker = deployment.start("worker")
        deployment.workers.append(worker)
        processes.append(worker)
        urls.append(worker.ready()["url"])
    deployment.send(clicks(make_event, 0, 400))
    until(lambda: all(sum(counted(url)) == 400 for url in urls))
    assert all(learned and taken for learned, taken in map(counted, urls))

    deployment.send([(topics.ITEM_DELTAS, b"?", b"no delta at all")])
    del deployment.sent[topics.ITEM_DELTAS, 0]  # no event: no checkpoint accounts for it
    until(lambda: any(one["topic"] == topics.ITEM_DELTAS for one in deployment.dead_letters()))
    (letter,) = [one for one in deployment.dead_letters() if one["topic"] == topics.ITEM_DELTAS]
    assert letter["reason"]

    deployment.send(clicks(make_event, 1_000, 400))  # the stream goes on
    until(lambda: all(sum(counted(url)) == 800 for url in urls))
    kept = deployment.wait_until_kept()
    assert kept["events_learned"] == 800

    processes[0].end(signal.SIGKILL)  # the other one takes over what the checkpoint holds
    deployment.send(clicks(make_event, 2_000, 400))
    kept = deployment.wait_until_kept()
    assert kept["events_learned"] == 1_200
    learned, taken = counted(urls[1])
    assert learned + taken >= 1_200
    log = (deployment.folder / "worker.log").read_text("utf-8", "replace")
    assert "deltas.rebuild" not in log  # it held exactly what the checkpoint states
    assert processes[1].end() == 0
