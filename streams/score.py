"""score: comments to the classifier, then on to learn (with text) and to the monitor (without)."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

from infra.telemetry import get_logger
from streams import topics
from streams.batch_consumer import Batch
from streams.catalog import Catalog
from streams.classifier_client import Answer, ClassifierClient
from streams.events import Comment, ScoredComment, Sentiment, encode, user_key
from streams.intake import Rejected
from streams.lateness import Lateness
from streams.monitor_order import LIVE_SECONDS
from streams.outlet import Outgoing
from streams.partition import PartitionState
from streams.river import River

log = get_logger("score")

AT_ONCE = 64


class Admitted(NamedTuple):
    """What of a batch is to be scored."""

    batch: Batch
    state: PartitionState
    comments: list[tuple[int, Comment]]
    duplicates: int
    erased: list[int]  # offsets of comments whose users were erased since


class Score:
    """The score agent's work on one batch at a time."""

    def __init__(self, river: River, classifier: ClassifierClient, catalog: Catalog) -> None:
        self._river = river
        self._classifier = classifier
        self._catalog = catalog
        self._lateness = Lateness(river.settings.score_within_seconds)

    async def handle(self, batches: Sequence[Batch]) -> None:
        """Score what gathered, in one request; it is on Kafka before it counts."""
        admitted = []
        here: set[tuple[int, int]] = set()
        for batch in batches:
            state = await self._river.partition(batch)
            if state is not None:
                admitted.append(await self._admit(batch, state, here))
        scored = await self._score(admitted)
        await self._river.outlet.write(
            [each for group in scored for comment, _ in group for each in self._records(comment)]
        )
        for each, group in zip(admitted, scored, strict=True):
            if self._river.owns(each.state):
                self._count(each, group)

    async def _admit(
        self, batch: Batch, state: PartitionState, here: set[tuple[int, int]]
    ) -> Admitted:
        """Args: here: (partition, id) of what was admitted in this round already."""
        comments: list[tuple[int, Comment]] = []
        rejected: list[tuple[int, str]] = []
        erased: list[int] = []
        duplicates = 0
        for index, offset in enumerate(batch.offsets):
            if not state.is_new(batch.topic, offset):
                continue
            message = self._river.intake.read(batch.topic, batch.values[index])
            if isinstance(message, Rejected):
                rejected.append((index, message.reason))
            elif not self._river.admits(message.tenant):
                rejected.append((index, "too many tenants on this worker"))
            elif self._river.erasures.erased(
                message.tenant, message.user_id, batch.timestamps_ms[index]
            ):
                erased.append(offset)
            elif not state.seen_or(here, state.hashes.one(message.tenant, message.id)):
                comments.append((index, message))
            else:
                duplicates += 1
        await self._river.dead_letter(batch, rejected)
        return Admitted(batch, state, comments, duplicates, erased)

    async def _score(self, admitted: Sequence[Admitted]) -> list[list[tuple[ScoredComment, bool]]]:
        """For each batch its scored comments, each with whether there was nothing to read."""
        texts = [comment.text for each in admitted for _, comment in each.comments]
        answers = iter(await self._answers(texts, self._late(admitted)))
        return [
            [self._scored(each.batch, at, comment, next(answers)) for at, comment in each.comments]
            for each in admitted
        ]

    def _late(self, admitted: Sequence[Admitted]) -> list[bool]:
        """Of each comment; their users' lists wait for them, and a spike in such comments."""
        waited = [
            self._waited(each, at, comment) for each in admitted for at, comment in each.comments
        ]
        if self._classifier.fallback is None:
            return [False] * len(waited)
        taken = sum(len(each.batch.offsets) for each in admitted)
        return self._lateness.of(waited, taken >= AT_ONCE, time.monotonic())

    def _waited(self, of: Admitted, index: int, comment: Comment) -> float:
        """Seconds, since it has an owner; −inf: it was old when it came.

        That is an import's, or of events sent again, and waits for the better answer.
        """
        received = of.batch.timestamps_ms[index] / 1000
        if received - comment.occurred_at.timestamp() > LIVE_SECONDS:
            return -math.inf
        return time.time() - max(received, of.state.taken_at)

    async def _answers(self, texts: list[str], late: list[bool]) -> list[Answer]:
        """The classifier's; of those that are late its fallback's."""
        asked = [text for text, is_late in zip(texts, late, strict=True) if not is_late]
        bridged = [text for text, is_late in zip(texts, late, strict=True) if is_late]
        theirs: list[Answer] = []
        if asked:
            started = time.perf_counter()
            theirs = await self._classifier.predict(asked)
            self._river.metrics.score_seconds.observe(time.perf_counter() - started)
        fallback = self._classifier.fallback
        served = self._classifier.version
        ours = fallback.predict(bridged, served) if fallback is not None and bridged else []
        self._river.metrics.scored_late.inc(len(bridged))
        on_time, in_place = iter(theirs), iter(ours)
        return [next(in_place if is_late else on_time) for is_late in late]

    def _count(self, each: Admitted, group: list[tuple[ScoredComment, bool]]) -> None:
        """Ledger, rows, counts and offset move together: no await."""
        erased = self._river.erasures.erased
        for comment, flagged in group:
            each.state.seen.add(each.state.hashes.one(comment.tenant, comment.id))
            # Scoring and sending take as long as the classifier and Kafka are away.
            if not erased(comment.tenant, comment.user_id, comment.source_received_ms):
                self._archive(comment, flagged, each.batch)
            self._river.metrics.scored.labels(comment.label).inc()
        each.state.duplicates += each.duplicates
        # The score of before his erasure may have been ignored already: it counts once.
        each.state.ignored += sum(not each.state.scored_before(at) for at in each.erased)
        self._river.metrics.duplicates.inc(each.duplicates)
        topic, last = each.batch.topic, each.batch.offsets[-1]
        each.state.offsets[topic] = max(last, each.state.offsets.get(topic, -1))

    def _scored(
        self, batch: Batch, index: int, comment: Comment, answer: Answer
    ) -> tuple[ScoredComment, bool]:
        label: Any = answer.label
        scored = ScoredComment(
            id=comment.id,
            occurred_at=comment.occurred_at,
            user_id=comment.user_id,
            item_id=comment.item_id,
            tenant=comment.tenant,
            session_id=comment.session_id,
            surface=comment.surface,
            text=comment.text,
            label=label,
            negative=answer.negative,
            neutral=answer.neutral,
            positive=answer.positive,
            model_version=answer.version,
            topics=self._catalog.topics(comment.tenant, comment.item_id),
            language=comment.language,
            author_cluster=comment.author_cluster,
            source_partition=batch.partition,
            source_offset=batch.offsets[index],
            source_received_ms=batch.timestamps_ms[index],
        )
        return scored, answer.flagged

    def _archive(self, comment: ScoredComment, flagged: bool, batch: Batch) -> None:
        row = {
            "tenant": comment.tenant,
            "id": comment.id,
            "user_key": self._river.pseudonyms.user_key(comment.tenant, comment.user_id),
            "item_id": comment.item_id,
            "topics": list(comment.topics),
            "occurred_at": comment.occurred_at,
            "received_at": comment.source_received_ms,
            "text": comment.text,
            "label": comment.label,
            "negative": comment.negative,
            "neutral": comment.neutral,
            "positive": comment.positive,
            "model_version": comment.model_version,
            "language": comment.language or "",
            "author_cluster": comment.author_cluster or "",
            "surface": comment.surface or "",
            "flagged": int(flagged),
            "topic": batch.topic,
            "partition": batch.partition,
            "offset": comment.source_offset,
        }
        self._river.archive.append("scored_comments", batch.topic, batch.partition, row)

    def _records(self, comment: ScoredComment) -> list[Outgoing]:
        """For the monitor an author is a pseudonym: it keeps who has voted, and no erasure
        finds him there.
        """
        compact = Sentiment(
            id=comment.id,
            tenant=comment.tenant,
            item_id=comment.item_id,
            label=comment.label,
            negative=comment.negative,
            occurred_at=comment.occurred_at,
            model_version=comment.model_version,
            source_partition=comment.source_partition,
            source_offset=comment.source_offset,
            topics=comment.topics,
            author_cluster=comment.author_cluster or None,
            surface=comment.surface,
            language=comment.language,
        )
        key = user_key(comment.tenant, comment.user_id)
        author = self._river.pseudonyms.user_key(comment.tenant, comment.user_id).encode()
        return [
            Outgoing(topics.SCORED_COMMENTS, key, encode(comment), comment.source_partition),
            Outgoing(topics.SENTIMENT, author, encode(compact), 0),
        ]
