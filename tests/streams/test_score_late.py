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
from streams import shedding, topics
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


class SlowClassifier:
    """A server that answers, with the packaged model's own expert beside it."""

    version = "server"

    def __init__(self, fallback: NGramFallback | None) -> None:
        self.fallback = fallback
        self.asked: list[str] = []

    async def predict(self, texts: Sequence[str]) -> list[Answer]:
        self.asked += texts
        return [Answer(0.1, 0.1, 0.8, version="server") for _ in texts]


def scored(fallback: NGramFallback | None, standing: bool = True) -> tuple[dict[str, str], float]:
    """Comment → version of the model that scored it; how many were late by the metric.

    Args:
        standing: whether there have been more than can be read for long.
    """
    metrics, outlet = WorkerMetrics(CollectorRegistry()), KeptOutlet()
    archive = ArchiveWriter("clickhouse://127.0.0.1:9/default")
    river = River(Settings(), metrics, NOWHERE, archive, Pseudonymiser(b"1" * 32), outlet)
    river.partition_loaded(PartitionState(0, 1))
    classifier: Any = SlowClassifier(fallback)
    agent = Score(river, classifier, Catalog(river))
    agent._shedding.active = standing
    now = time.time()
    ages = {"first": 0.0, "second": 0.0, "of a replay": YEAR, "third": 0.0}
    values: list[bytes | None] = [
        encode(
            Comment(
                id=name,
                user_id="u",
                item_id="i",
                text="a terrible course",
                occurred_at=datetime.fromtimestamp(now - age, UTC),
            )
        )
        for name, age in ages.items()
    ]
    appended = [round(now * 1000)] * len(values)
    keys: list[bytes | None] = [b"default/u"] * len(values)
    batch = Batch(topics.COMMENTS, 0, list(range(len(values))), keys, values, appended)
    asyncio.run(agent.handle([batch]))
    made = [
        msgspec.json.decode(each.value or b"", type=ScoredComment)
        for each in outlet.written
        if each.topic == topics.SCORED_COMMENTS
    ]
    return {each.id: each.model_version for each in made}, metrics.scored_late._value.get()


@pytest.fixture(autouse=True)
def one_is_read_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shedding, "LEAST", 1)


def test_what_cannot_be_read_in_time_is_scored_by_the_expert_and_marked() -> None:
    expert = NGramFallback.of(None)
    assert expert is not None
    found, late = scored(expert)
    assert found == {
        "first": "server", "second": expert.version, "of a replay": "server",
        "third": expert.version,
    }  # fmt: skip
    assert late == 2


def test_where_there_is_no_expert_the_server_is_waited_for() -> None:
    found, late = scored(None)
    assert set(found.values()) == {"server"} and late == 0


def test_a_burst_is_waited_for() -> None:
    found, late = scored(NGramFallback.of(None), standing=False)
    assert set(found.values()) == {"server"} and late == 0
