"""Sends replayed and simulated events, and remembers exactly what the broker acknowledged."""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import Any

from msgspec import Struct

from infra.security import kafka_client
from infra.telemetry import get_logger
from streams.topics import INTERACTION_TOPICS

log = get_logger("sender")

MAX_IN_FLIGHT = 5_000
LINGER_MS = 5  # Tansu needs 5 for throughput; a real Kafka answers as fast with it
MAX_REQUEST_BYTES = 2_000_000
RETRY_SECONDS = 0.5
STOP_SECONDS = 5.0

BeforeSend = Callable[[str, str], Awaitable[None]]


class Outbound(Struct, frozen=True):
    """A message to send.

    Attributes:
        at: event time, epoch seconds; the pace goes by it.
        tenant, user: of an interaction, an event that counts as input; empty for the catalogue
            and profiles.
    """

    topic: str
    key: bytes
    value: bytes
    at: float
    tenant: str = ""
    user: str = ""

    @property
    def is_interaction(self) -> bool:
        """Whether it counts as input."""
        return self.topic in INTERACTION_TOPICS


class Offsets:
    """A set of offsets kept as ranges: constant in size for what a broker hands out in order."""

    def __init__(self) -> None:
        self._starts: list[int] = []
        self._ends: list[int] = []  # exclusive

    def add(self, offset: int) -> None:
        """Add one offset; adding it again changes nothing."""
        starts, ends = self._starts, self._ends
        if ends and offset == ends[-1]:
            ends[-1] += 1
            return
        i = bisect_right(starts, offset)  # ranges before i start at or below the offset
        if i and offset < ends[i - 1]:
            return
        joins_left = bool(i) and offset == ends[i - 1]
        joins_right = i < len(starts) and offset + 1 == starts[i]
        if joins_left and joins_right:
            ends[i - 1] = ends[i]
            del starts[i], ends[i]
        elif joins_left:
            ends[i - 1] += 1
        elif joins_right:
            starts[i] -= 1
        else:
            starts.insert(i, offset)
            ends.insert(i, offset + 1)

    def add_up_to(self, last: int) -> None:
        """Add every offset from 0 to `last`; nothing where it is negative."""
        if last < 0:
            return
        i = bisect_right(self._starts, last + 1)
        end = max(last + 1, *self._ends[i - 1 : i], 0)
        self._starts[:i], self._ends[:i] = [0], [end]

    def __contains__(self, offset: int) -> bool:
        i = bisect_right(self._starts, offset)
        return bool(i) and offset < self._ends[i - 1]

    def __len__(self) -> int:
        return sum(self._ends) - sum(self._starts)

    @property
    def ranges(self) -> list[tuple[int, int]]:
        """(first, last) of each range, both inside, ascending."""
        return [(start, end - 1) for start, end in zip(self._starts, self._ends, strict=True)]

    @property
    def last(self) -> int:
        """The largest offset; -1 without any."""
        return self._ends[-1] - 1 if self._ends else -1


class Sender:
    """An aiokafka producer with `acks=all` that tries again until the broker answers.

    Attributes:
        acknowledged: (topic, partition) → offsets, of interaction topics: what the books are
            balanced against.
        refused: messages the broker will never take (too large), with the first reason.

    Args:
        before_send: awaited with (tenant, user) just before an interaction is produced.
        idempotent: let the broker drop the repeats of a lost answer. A real Kafka can; on Tansu
            such a repeat becomes a record of its own that nobody counts as input.
    """

    def __init__(
        self,
        kafka_url: str,
        before_send: BeforeSend | None = None,
        idempotent: bool = False,
        max_in_flight: int = MAX_IN_FLIGHT,
        linger_ms: int = LINGER_MS,
    ) -> None:
        self._connection = kafka_client(kafka_url)
        self._before_send = before_send
        self._idempotent = idempotent
        self._max_in_flight = max_in_flight
        self._linger_ms = linger_ms
        self._producer: Any = None
        self._in_flight = 0
        self._retries: set[asyncio.Task[None]] = set()
        self._room = asyncio.Event()
        self._room.set()
        self._idle = asyncio.Event()
        self._idle.set()
        self.acknowledged: dict[tuple[str, int], Offsets] = {}
        self.refused = 0
        self.first_refusal = ""

    @property
    def events_in(self) -> int:
        """Distinct offsets of interaction topics that the broker acknowledged."""
        return sum(len(offsets) for offsets in self.acknowledged.values())

    async def start(self) -> None:
        """Connect.

        Raises:
            aiokafka.errors.KafkaConnectionError: no broker answers.
        """
        from aiokafka import AIOKafkaProducer

        self._producer = AIOKafkaProducer(
            **self._connection,
            acks="all",
            enable_idempotence=self._idempotent,
            linger_ms=self._linger_ms,
            max_request_size=MAX_REQUEST_BYTES,
            client_id="springtide-sender",
        )
        await self._producer.start()

    async def stop(self) -> None:
        """Disconnect; what is still in flight is sent, but no longer tried again."""
        for task in self._retries:
            task.cancel()
        if self._producer is not None:
            # A broker that is gone would hold it up until every batch has expired, 40 s.
            with suppress(TimeoutError):
                async with asyncio.timeout(STOP_SECONDS):
                    await self._producer.stop()

    async def flush(self) -> None:
        """Return once everything sent is acknowledged or refused."""
        while self._in_flight:
            await self._producer.flush()
            await self._idle.wait()

    async def send(self, outbound: Outbound) -> None:
        """Hand over one message; waits while too many are in flight."""
        await self._room.wait()
        if outbound.is_interaction and self._before_send is not None:
            await self._before_send(outbound.tenant, outbound.user)
        self._in_flight += 1
        self._idle.clear()
        if self._in_flight >= self._max_in_flight:
            self._room.clear()
        await self._produce(outbound)

    async def _produce(self, outbound: Outbound) -> None:
        from aiokafka.errors import KafkaError

        try:
            future = await self._producer.send(
                outbound.topic, outbound.value, key=outbound.key or None
            )
        except KafkaError as error:
            self._failed(outbound, error)
        except BaseException:  # cancelled while it waited for room: it is not on its way
            self._done()
            raise
        else:
            future.add_done_callback(partial(self._answered, outbound))

    def _answered(self, outbound: Outbound, future: asyncio.Future[Any]) -> None:
        if future.cancelled():
            self._done()
            return
        error = future.exception()
        if error is not None:
            self._failed(outbound, error)
            return
        if outbound.is_interaction:
            answer = future.result()
            key = (answer.topic, answer.partition)
            self.acknowledged.setdefault(key, Offsets()).add(answer.offset)
        self._done()

    def _failed(self, outbound: Outbound, error: BaseException) -> None:
        from aiokafka.errors import KafkaTimeoutError

        if getattr(error, "retriable", False) or isinstance(error, KafkaTimeoutError):
            log.warning("sender.retry", topic=outbound.topic, error=type(error).__name__)
            task = asyncio.get_running_loop().create_task(self._again(outbound))
            self._retries.add(task)
            task.add_done_callback(self._retries.discard)
            return
        log.warning("sender.refused", topic=outbound.topic, error=type(error).__name__)
        self.refused += 1
        self.first_refusal = self.first_refusal or f"{outbound.topic}: {error}"
        self._done()

    async def _again(self, outbound: Outbound) -> None:
        await asyncio.sleep(RETRY_SECONDS)
        await self._produce(outbound)

    def _done(self) -> None:
        self._in_flight -= 1
        if self._in_flight < self._max_in_flight:
            self._room.set()
        if not self._in_flight:
            self._idle.set()
