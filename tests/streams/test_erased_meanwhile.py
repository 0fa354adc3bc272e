"""Who is erased while what he left is on its way: it teaches nothing, and leaves no row."""

from __future__ import annotations

import asyncio
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
from online.spikes import author_hash
from streams import topics
from streams.archive import Archive
from streams.batch_consumer import Batch
from streams.catalog import Catalog
from streams.classifier_client import Answer
from streams.erasure import DERIVED_GRACE_MS
from streams.events import Comment, Sentiment, Served, encode
from streams.learn import Learn
from streams.monitor import waiting
from streams.outlet import Outgoing, Outlet
from streams.partition import PartitionState
from streams.recommend import Recommend
from streams.river import River
from streams.score import Score

NOWHERE: Any = None
GONE = "zhang-wei-1987@example.org"
AT = 1_790_000_000_000


class KeptOutlet(Outlet):
    """A Kafka that is read in the test."""

    def __init__(self) -> None:
        super().__init__("kafka://127.0.0.1:9")
        self.written: list[Outgoing] = []

    async def write(self, records: Sequence[Outgoing]) -> None:
        self.written += records


@pytest.fixture
def river() -> River:
    archive = ArchiveWriter("clickhouse://127.0.0.1:9/default")
    made = River(
        Settings(), WorkerMetrics(CollectorRegistry()), NOWHERE, archive,
        Pseudonymiser(b"1" * 32), KeptOutlet(),
    )  # fmt: skip
    made.partition_loaded(PartitionState(0, 1))
    return made


class SlowClassifier:
    """It is away while a user is erased."""

    fallback, version = None, ""

    def __init__(self, river: River) -> None:
        self._river = river

    async def predict(self, texts: Sequence[str]) -> list[Answer]:
        self._river.erasures.note(self._river.pseudonyms.user_keys("default", GONE), AT + 1_000)
        return [Answer(0.9, 0.05, 0.05) for _ in texts]


def batch(topic: str, records: Sequence[tuple[bytes | None, bytes]], at_ms: int) -> Batch:
    numbers = list(range(len(records)))
    keys, values = [list(column) for column in zip(*records, strict=True)]
    return Batch(topic, 0, numbers, keys, values, [at_ms] * len(records))


def comment(user: str) -> tuple[bytes, bytes]:
    said = Comment(
        id=f"c-{len(user)}", occurred_at=datetime.fromtimestamp(AT / 1000, UTC), user_id=user,
        item_id="i", text="bad",
    )  # fmt: skip
    return f"default/{user}".encode(), encode(said)


def test_a_comment_that_was_scored_for_longer_than_his_erasure_took(river: River) -> None:
    classifier: Any = SlowClassifier(river)
    score, learn = Score(river, classifier, Catalog(river)), Learn(river, Recommend(river))

    async def scenario() -> list[Outgoing]:
        await score.handle([batch(topics.COMMENTS, [comment(GONE), comment("other")], AT)])
        kafka: Any = river.outlet
        scored = [(o.key, o.value) for o in kafka.written if o.topic == topics.SCORED_COMMENTS]
        assert river.archive.pending_rows == 1  # the other's
        late = AT + 1_000 + 2 * DERIVED_GRACE_MS  # appended as late as that
        await learn.handle([batch(topics.SCORED_COMMENTS, scored, late)])
        return list(kafka.written)

    written = asyncio.run(scenario())
    learner = river.learner("default")
    assert learner.has("other", "i") and not learner.has(GONE, "i")
    assert river.partitions[0].ignored == 1
    told = [one for one in written if one.topic == topics.SENTIMENT]
    assert len(told) == 2 and not any(GONE.encode() in one.key + (one.value or b"") for one in told)
    first = waiting(msgspec.json.decode(told[0].value or b"", type=Sentiment), told[0].key)
    assert first.observation.author not in (0, author_hash(f"default/{GONE}"))


def test_a_list_that_was_shown_before_and_recorded_long_after(river: River) -> None:
    river.erasures.note(river.pseudonyms.user_keys("default", GONE), AT)
    archive = Archive(river, NOWHERE)

    def shown(at_ms: int) -> tuple[bytes, bytes]:
        list_shown = Served(
            user_id=GONE, list_version="1-1", items=("i",),
            served_at=datetime.fromtimestamp(at_ms / 1000, UTC),
        )  # fmt: skip
        return f"default/{GONE}".encode(), encode(list_shown)

    late = AT + 3 * DERIVED_GRACE_MS
    asyncio.run(archive.handle(batch(topics.SERVED, [shown(AT - 1), shown(AT + 60_000)], late)))
    assert river.archive.pending_rows == 1  # what a new user of his name was shown
