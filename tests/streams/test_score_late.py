"""A classifier that is slower than comments come holds up neither lists nor alerts."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from prometheus_client import CollectorRegistry

from infra.metrics import WorkerMetrics
from infra.pseudonym import Pseudonymiser
from infra.settings import Settings
from infra.warehouse import ArchiveWriter
from streams import score, topics
from streams.batch_consumer import Batch
from streams.catalog import Catalog
from streams.classifier_client import Answer
from streams.events import Comment, ScoredComment, encode
from streams.fallback import NGramFallback
from streams.partition import PartitionState
from streams.river import River
from streams.score import Score
from tests.streams.test_erased_meanwhile import KeptOutlet

NOWHERE: Any = None
YEAR = 365 * 86_400.0
# Seconds since each comment was appended, and since it was written.
# That of a fresh one is ahead: a busy machine may take seconds to get here.
LATE, FRESH, OF_A_REPLAY, OF_AN_OUTAGE = (5.0, 5.0), (-60.0, 0.0), (5.0, YEAR), (600.0, 601.0)


class SlowClassifier:
    """A server that answers, with the packaged model's own expert beside it."""

    version = "server"

    def __init__(self, fallback: NGramFallback | None) -> None:
        self.fallback = fallback
        self.asked: list[str] = []

    async def predict(self, texts: Sequence[str]) -> list[Answer]:
        self.asked += texts
        return [Answer(0.1, 0.1, 0.8, version="server") for _ in texts]


def scored(
    within: float, fallback: NGramFallback | None, owned: float = 700.0
) -> tuple[dict[str, str], float]:
    """Comment → version of the model that scored it; how many were late by the metric.

    Args:
        owned: seconds since the worker has the partition.
    """
    metrics, outlet = WorkerMetrics(CollectorRegistry()), KeptOutlet()
    archive = ArchiveWriter("clickhouse://127.0.0.1:9/default")
    settings = Settings(score_within_seconds=within)
    river = River(settings, metrics, NOWHERE, archive, Pseudonymiser(b"1" * 32), outlet)
    state = PartitionState(0, 1)
    state.taken_at = time.time() - owned
    river.partition_loaded(state)
    classifier: Any = SlowClassifier(fallback)
    now = time.time()
    told = {"late": LATE, "fresh": FRESH, "of a replay": OF_A_REPLAY, "of an outage": OF_AN_OUTAGE}
    values: list[bytes | None] = [
        encode(
            Comment(
                id=name,
                user_id="u",
                item_id="i",
                text="a terrible course",
                occurred_at=datetime.fromtimestamp(now - ago, UTC),
            )
        )
        for name, (_, ago) in told.items()
    ]
    appended = [round((now - waited) * 1000) for waited, _ in told.values()]
    keys: list[bytes | None] = [b"default/u"] * len(values)
    batch = Batch(topics.COMMENTS, 0, list(range(len(values))), keys, values, appended)
    asyncio.run(Score(river, classifier, Catalog(river)).handle([batch]))
    made = [
        msgspec.json.decode(each.value or b"", type=ScoredComment)
        for each in outlet.written
        if each.topic == topics.SCORED_COMMENTS
    ]
    return {each.id: each.model_version for each in made}, metrics.scored_late._value.get()


@pytest.fixture(autouse=True)
def four_fill_a_request(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(score, "AT_ONCE", 4)


def test_what_waited_for_too_long_is_scored_by_the_expert_and_marked() -> None:
    expert = NGramFallback.of(None)
    assert expert is not None
    found, late = scored(2.0, expert)
    assert found == {
        "late": expert.version, "fresh": "server", "of a replay": "server",
        "of an outage": expert.version,
    }  # fmt: skip
    assert late == 2


def test_where_it_is_to_wait_or_there_is_no_expert_the_server_is_waited_for() -> None:
    for within, expert in ((0.0, NGramFallback.of(None)), (2.0, None)):
        found, late = scored(within, expert)
        assert set(found.values()) == {"server"} and late == 0


def test_what_waited_for_an_owner_is_not_late() -> None:
    found, late = scored(2.0, NGramFallback.of(None), owned=-60.0)
    assert set(found.values()) == {"server"} and late == 0


def test_nobody_is_late_where_the_classifier_has_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(score, "AT_ONCE", 5)  # clocks may differ by seconds
    found, late = scored(2.0, NGramFallback.of(None))
    assert set(found.values()) == {"server"} and late == 0
