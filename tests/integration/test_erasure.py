"""A user is erased from everything within a minute, and no replay brings him back."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from kafka import KafkaAdminClient

from infra.settings import load_settings
from infra.warehouse import Warehouse
from online.changes import of_tenant
from online.checkpoint import CheckpointStore
from online.learner import Kind, Learner
from streams import topics
from streams.commands.checkpoints import summarise
from streams.erasure_check import check

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(600)]

GONE = "zhang-wei-1987@example.org"
OTHERS = 30
CLICKS = 240
ITEMS = 40
WITHIN_SECONDS = 60


def until(holds: Callable[[], Any], seconds: float) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := holds()) and time.monotonic() < deadline:
        time.sleep(0.3)
    return found


def clicks(make_event: Any) -> list[Any]:
    """Of everybody: the erased user's are spread among them."""
    return [
        make_event("click", n, GONE if n % 8 == 3 else f"other-{n % OTHERS}", f"i{n * 7 % ITEMS}")
        for n in range(CLICKS)
    ]


def neighbours(learner: Learner) -> dict[str, list[tuple[str, float]]]:
    """Everything that the additive statistics say of every item."""
    found = {}
    for n in range(ITEMS):
        top = learner.similar(f"i{n}", ITEMS)
        pairs = zip(top.items, (round(float(score), 5) for score in top.scores), strict=True)
        found[f"i{n}"] = sorted(pairs, key=lambda pair: (-pair[1], pair[0]))
    return found


def of_checkpoint(url: str) -> dict[str, list[tuple[str, float]]]:
    store, learner = CheckpointStore(url), Learner()
    for name in store.names():
        if name.startswith("partition-"):
            found = store.read(name)
            assert found is not None
            arrays = of_tenant("default", found.arrays)
            learner.load_partition(int(name.removeprefix("partition-")), arrays)
    return neighbours(learner)


def left_rows(url: str) -> dict[str, int]:
    warehouse = Warehouse(url)
    tables = ("interactions", "scored_comments", "served", "list_writes")
    rows = {t: warehouse.query(f"SELECT count() AS n FROM {t}")[0]["n"] for t in tables}
    warehouse.close()
    return rows


def test_an_erased_user_is_gone_within_a_minute_and_stays_gone(
    deployment: Any, make_event: Any
) -> None:
    settings = load_settings(
        **{
            name.removeprefix("SPRINGTIDE_").lower(): value
            for name, value in deployment.environment.items()
        }
    )
    sent = clicks(make_event)
    comments = [
        make_event("comment", 1_000 + n, user, f"i{n}", text=f"Terrible, I want a refund {n}")
        for n, user in enumerate([GONE] * 5 + ["critic"] * 5)
    ]  # no other user has events on two topics, whose order a replay does not keep
    nonsense = (topics.CLICKS, f"default/{GONE}".encode(), b'{"type": "click"}')
    worker = deployment.worker()
    api = deployment.start("api", "--port", "0")
    url = api.ready()["url"]
    with httpx.Client(base_url=url, timeout=20) as client:
        client.put(f"/v1/users/{GONE}", json={"interests": ["secret hobby"]}).raise_for_status()
        deployment.send([*sent[:200], *comments, nonsense, *sent[200:]])
        deployment.wait_until_kept()
        client.get(f"/v1/users/{GONE}/recommendations").raise_for_status()
        client.get("/v1/users/other-1/recommendations").raise_for_status()
        # The scan must see him in every place, or it proves nothing later.
        seen = until(lambda: all((look := check(settings, "default", GONE))["traces"].values())
                     and look, 30)  # fmt: skip
        assert seen, check(settings, "default", GONE)
        assert seen["ages_out"]["clicks.v1"]["records"] == CLICKS // 8 + 1
        url_of_rows = deployment.stack.clickhouse_url
        assert until(lambda: left_rows(url_of_rows)["served"] == 2, 30)  # both of the two lists
        rows = left_rows(url_of_rows)

        asked = time.monotonic()
        answer = client.delete(f"/v1/users/{GONE}")
        assert answer.status_code == 202
        traces = None
        while traces is None or (any(traces.values()) and time.monotonic() - asked < 90):
            traces = check(settings, "default", GONE)["traces"]
            time.sleep(0.5)
        took = time.monotonic() - asked
        assert not any(traces.values()), traces
        assert took < WITHIN_SECONDS
        print(f"clean after {took:.1f} s")

        assert of_checkpoint(settings.checkpoints) == never_seen(sent, comments)
        left = left_rows(url_of_rows)
        gone = {table: rows[table] - left[table] for table in rows}
        assert gone["interactions"] == CLICKS // 8 + 5 and gone["scored_comments"] == 5
        assert gone["served"] == 1 and gone["list_writes"] > 0

    worker.end()
    api.end()
    replay_from_the_beginning(deployment, settings)
    again = check(settings, "default", GONE)
    assert again["clean"], again
    assert of_checkpoint(settings.checkpoints) == never_seen(sent, comments)
    sent_again(deployment)


def replay_from_the_beginning(deployment: Any, settings: Any) -> None:
    """Without a checkpoint, a committed offset or a row: everything is read once more."""
    shutil.rmtree(settings.checkpoints)
    admin = KafkaAdminClient(bootstrap_servers=deployment.servers)
    admin.delete_groups(["springtide"])
    admin.close()
    warehouse = Warehouse(deployment.stack.clickhouse_url)
    for table in ("interactions", "scored_comments", "served", "list_writes"):
        warehouse.query(f"TRUNCATE TABLE {table}")
    warehouse.close()
    worker = deployment.worker()
    deployment.wait_until_kept()
    kept = summarise(settings.checkpoints)
    assert kept["ignored"] == CLICKS // 8 + 5
    worker.end()


def sent_again(deployment: Any) -> None:
    """His dead letter is left out of a replay, others' are not."""
    command = [str(Path(sys.executable).with_name("springtide")), "dead-letters", "replay"]
    said = subprocess.run(
        [*command, "--dry-run"], env={**os.environ, **deployment.environment},
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    assert "left out: their users were erased" in said and "0 would be sent again" in said


def never_seen(sent: list[Any], comments: list[Any]) -> Any:
    """What a learner would hold to which the erased user never came."""
    learner = Learner()
    events = [json.loads(value) for _, _, value in [*sent[:200], *comments, *sent[200:]]]
    events = [event for event in events if event["user_id"] != GONE]
    kinds = [Kind.NEGATIVE if event["type"] == "comment" else Kind.CLICK for event in events]
    learner.learn(
        0, [event["user_id"] for event in events], [event["item_id"] for event in events],
        np.array(kinds, dtype=np.int8), np.arange(float(len(events))),
    )  # fmt: skip
    return neighbours(learner)
