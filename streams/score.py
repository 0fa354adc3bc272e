"""score: comments to the classifier, then on to learn (with text) and to the monitor (without)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Any

import aiohttp
import msgspec
from msgspec import Struct

from infra.telemetry import get_logger
from streams import topics
from streams.batch_consumer import Batch
from streams.catalog import Catalog
from streams.events import Comment, ScoredComment, Sentiment, encode, user_key
from streams.intake import Rejected
from streams.ledger import event_hash
from streams.outlet import Outgoing
from streams.partition import PartitionState
from streams.river import River

log = get_logger("score")

AT_ONCE = 64
TIMEOUT_SECONDS = 30.0
RETRY_SECONDS = (0.1, 0.3, 1.0, 2.0, 5.0)


class LabelScore(Struct, frozen=True):
    """One label of a TEI-shaped prediction."""

    label: str
    score: float


class ClassifierClient:
    """Asks the classifier server; waits for it as long as it takes (back-pressure)."""

    def __init__(self, url: str) -> None:
        self._url = url.rstrip("/")
        self._session: aiohttp.ClientSession | None = None
        self._decode = msgspec.json.Decoder(list[list[LabelScore]]).decode
        self.version = ""

    async def start(self) -> None:
        """Open the connection pool and learn the model's version."""
        timeout = aiohttp.ClientTimeout(total=TIMEOUT_SECONDS)
        self._session = aiohttp.ClientSession(timeout=timeout)

    async def stop(self) -> None:
        """Close the connection pool."""
        if self._session is not None:
            await self._session.close()

    async def predict(self, texts: Sequence[str]) -> list[dict[str, float]]:
        """Label → probability for each text; retries until the server answers."""
        body = msgspec.json.encode({"inputs": [[text] for text in texts]})
        attempt = 0
        while True:
            wait = RETRY_SECONDS[min(attempt, len(RETRY_SECONDS) - 1)]
            attempt += 1
            try:
                return await self._ask(body)
            except (aiohttp.ClientError, TimeoutError, msgspec.DecodeError) as error:
                log.warning("classifier.retry", error=type(error).__name__, wait_seconds=wait)
            await asyncio.sleep(wait)

    async def _ask(self, body: bytes) -> list[dict[str, float]]:
        if self._session is None:
            raise RuntimeError("start the client first")
        if not self.version:
            async with self._session.get(f"{self._url}/info") as info:
                info.raise_for_status()
                self.version = str((await info.json()).get("model_version", "unknown"))
        headers = {"content-type": "application/json"}
        async with self._session.post(f"{self._url}/predict", data=body, headers=headers) as answer:
            answer.raise_for_status()
            rows = self._decode(await answer.read())
        return [{entry.label: entry.score for entry in row} for row in rows]


class Score:
    """The score agent's work on one batch at a time."""

    def __init__(self, river: River, classifier: ClassifierClient, catalog: Catalog) -> None:
        self._river = river
        self._classifier = classifier
        self._catalog = catalog

    async def handle(self, batch: Batch) -> None:
        """Score the batch's comments in pieces; each piece is on Kafka before it counts."""
        state = await self._river.partition(batch.partition)
        for start in range(0, len(batch.offsets), AT_ONCE):
            await self._piece(batch, range(start, min(start + AT_ONCE, len(batch.offsets))), state)

    async def _piece(self, batch: Batch, indices: range, state: PartitionState) -> None:
        comments, rejected, duplicates = self._admit(batch, indices, state)
        await self._river.dead_letter(batch, rejected)
        scored = await self._score(batch, comments)
        await self._river.outlet.write(
            [record for comment in scored for record in self._records(comment)]
        )
        if not self._river.owns(state):
            return
        # From here to the end without an await: ledger, rows, counts and offset move together.
        for comment in scored:
            state.seen.add(event_hash(comment.tenant, comment.id))
            self._archive(comment, batch, state.partition)
            self._river.metrics.scored.labels(comment.label).inc()
        state.duplicates += duplicates
        self._river.metrics.duplicates.inc(duplicates)
        last = batch.offsets[indices[-1]]
        state.offsets[batch.topic] = max(last, state.offsets.get(batch.topic, -1))

    def _admit(
        self, batch: Batch, indices: range, state: PartitionState
    ) -> tuple[list[tuple[int, Comment]], list[tuple[int, str]], int]:
        comments: list[tuple[int, Comment]] = []
        rejected: list[tuple[int, str]] = []
        here: set[int] = set()
        duplicates = 0
        for index in indices:
            if not state.is_new(batch.topic, batch.offsets[index]):
                continue
            message = self._river.intake.read(batch.topic, batch.values[index])
            if isinstance(message, Rejected):
                rejected.append((index, message.reason))
                continue
            if not self._river.admits(message.tenant):
                rejected.append((index, "too many tenants on this worker"))
                continue
            hashed = event_hash(message.tenant, message.id)
            if hashed in state.seen or hashed in here:
                duplicates += 1
                continue
            here.add(hashed)
            comments.append((index, message))
        return comments, rejected, duplicates

    async def _score(
        self, batch: Batch, comments: list[tuple[int, Comment]]
    ) -> list[ScoredComment]:
        if not comments:
            return []
        started = time.perf_counter()
        answers = await self._classifier.predict([comment.text for _, comment in comments])
        self._river.metrics.score_seconds.observe(time.perf_counter() - started)
        return [
            self._scored(batch, index, comment, answer)
            for (index, comment), answer in zip(comments, answers, strict=True)
        ]

    def _scored(
        self, batch: Batch, index: int, comment: Comment, answer: dict[str, float]
    ) -> ScoredComment:
        label: Any = max(answer, key=lambda name: answer[name])
        return ScoredComment(
            id=comment.id,
            occurred_at=comment.occurred_at,
            user_id=comment.user_id,
            item_id=comment.item_id,
            tenant=comment.tenant,
            session_id=comment.session_id,
            surface=comment.surface,
            text=comment.text,
            label=label,
            negative=min(1.0, max(0.0, answer["negative"])),
            neutral=min(1.0, max(0.0, answer["neutral"])),
            positive=min(1.0, max(0.0, answer["positive"])),
            model_version=self._classifier.version,
            topics=self._catalog.topics(comment.tenant, comment.item_id),
            language=comment.language,
            author_cluster=comment.author_cluster,
            source_partition=batch.partition,
            source_offset=batch.offsets[index],
        )

    def _records(self, comment: ScoredComment) -> list[Outgoing]:
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
        )
        key = user_key(comment.tenant, comment.user_id)
        partition = comment.source_partition
        return [
            Outgoing(topics.SCORED_COMMENTS, key, encode(comment), partition),
            Outgoing(topics.SENTIMENT, key, encode(compact), 0),
        ]

    def _archive(self, comment: ScoredComment, batch: Batch, partition: int) -> None:
        received = batch.timestamps_ms[batch.offsets.index(comment.source_offset)]
        row = {
            "tenant": comment.tenant,
            "id": comment.id,
            "user_key": self._river.pseudonyms.user_key(comment.tenant, comment.user_id),
            "item_id": comment.item_id,
            "topics": list(comment.topics),
            "occurred_at": comment.occurred_at,
            "received_at": received,
            "text": comment.text,
            "label": comment.label,
            "negative": comment.negative,
            "neutral": comment.neutral,
            "positive": comment.positive,
            "model_version": comment.model_version,
            "language": comment.language or "",
            "author_cluster": comment.author_cluster or "",
            "flagged": int(not comment.text.strip()),
            "topic": batch.topic,
            "partition": partition,
            "offset": comment.source_offset,
        }
        self._river.archive.append("scored_comments", batch.topic, partition, row)
