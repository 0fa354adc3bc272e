"""deltas: item-deltas.v1, by which every worker knows what the users of all others do.

Sends what is new in our partitions, at most every 1,000 events or 1 s, and before every checkpoint
is written. Reads the topic whole, without a group; readiness waits until it has caught up.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections import defaultdict, deque
from typing import Any

import msgspec

from infra.telemetry import get_logger
from online.deltas_exchange import Exchange
from online.learner import Learner
from streams import deltas_wire, topics, whole_topic
from streams.batch_consumer import to_batch
from streams.deltas_wire import ItemDelta, UnusableError
from streams.outlet import Outgoing
from streams.river import River

log = get_logger("deltas")

SEND_EVENTS = 1_000
SEND_SECONDS = 1.0
LOOK_SECONDS = 0.05
ALIVE_SECONDS = 10.0  # a worker that said nothing for so long learns nothing now
KEPT_SECONDS = topics.DELTA_HOURS * 3_600.0  # who comes back later does not find what we sent
REMEMBERED = 256  # factor messages of a worker, by which a repeat is known
WAIT_SECONDS = 5.0


class Deltas:
    """This worker's side of item-deltas.v1.

    Attributes:
        epochs: our partitions' epochs, set before a partition's checkpoint is loaded.
        position: the topic's next offset to read: with a checkpoint it says where to start.
    """

    def __init__(self, river: River) -> None:
        self._river = river
        self.worker = uuid.uuid4().hex
        self.epochs: dict[int, int] = {}
        self.position = 0
        self.caught_up = asyncio.Event()
        self.shared_from: dict[str, SharedMark] = {}
        self._exchanges: dict[str, Exchange] = {}
        self._outgoing: list[ItemDelta] = []
        self._sequence = 0
        self._sending = asyncio.Lock()
        self._heard: dict[str, float] = {}
        self._torn: set[tuple[str, int]] = set()
        self._taken: dict[str, deque[int]] = defaultdict(lambda: deque(maxlen=REMEMBERED))
        if river.components.learner == "all":
            river.on_learner = self.join

    def join(self, tenant: str, learner: Learner) -> None:
        """A tenant's learner takes part, from its beginning."""
        self._exchanges[tenant] = learner.share(lambda partition: self.epochs.get(partition, 0))
        self._count_workers()

    async def run(self) -> None:
        """Send and read for as long as the worker lives."""
        await asyncio.gather(self._send_on(), self._follow())

    async def _send_on(self) -> None:
        sent_at = time.monotonic()
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            unsent = sum(exchange.unsent for exchange in self._exchanges.values())
            waited = time.monotonic() - sent_at
            if unsent >= SEND_EVENTS or (unsent and waited >= SEND_SECONDS):
                sent_at = time.monotonic()
                self.cut()
                await self.flushed()

    def cut(self) -> None:
        """Put what is new in line to be sent; synchronous, so that it falls with a snapshot."""
        self._count_workers()
        for tenant, exchange in self._exchanges.items():
            for run in exchange.cut():
                self._outgoing += deltas_wire.from_run(tenant, self.worker, run, exchange.names)
            for delta in exchange.factors.cut():
                self._outgoing.append(
                    deltas_wire.from_factors(tenant, self.worker, delta, exchange.names)
                )

    def _count_workers(self) -> None:
        now = time.monotonic()
        self._heard = {each: at for each, at in self._heard.items() if at > now - KEPT_SECONDS}
        learning = sum(at > now - ALIVE_SECONDS for at in self._heard.values())
        for exchange in self._exchanges.values():
            exchange.factors.set_workers(1 + learning, len(self._heard) - learning)

    def _heard_of(self, message: ItemDelta) -> None:
        """Note that there is another worker, or that there was one before we began to read."""
        now = time.monotonic()
        if self.caught_up.is_set():
            at = now
        elif message.factors is not None and message.items:  # he had others to tell, too
            at = self._heard.get(message.worker, now - ALIVE_SECONDS)
        else:
            return
        known = message.worker in self._heard
        self._heard[message.worker] = at
        if not known:
            self._count_workers()

    async def flushed(self) -> None:
        """Return once all that was cut is on the topic."""
        async with self._sending:
            while self._outgoing:
                taken, self._outgoing = self._outgoing, []
                records = []
                for message in taken:
                    self._sequence += 1
                    records.append(self._record(message))
                await self._river.outlet.write(records)

    def _record(self, message: ItemDelta) -> Outgoing:
        run = message.increments
        what = f"{run.partition}/{run.block}" if run is not None else f"factors/{self.worker}"
        numbered = msgspec.structs.replace(message, sequence=self._sequence)
        key = f"{message.tenant}/{what}".encode()
        return Outgoing(topics.ITEM_DELTAS, key, deltas_wire.encode(numbered), 0)

    def positions(self) -> dict[str, dict[int, int]]:
        """What a checkpoint taken now will hold of our partitions."""
        return {tenant: exchange.positions() for tenant, exchange in self._exchanges.items()}

    def settle(self, positions: dict[str, dict[int, int]]) -> None:
        """That checkpoint is written: what it holds need not be sent again."""
        for tenant, of_partitions in positions.items():
            self._exchanges[tenant].settle(of_partitions)

    def mark(self) -> str:
        """For the header of a shared-model checkpoint: which factor messages it holds."""
        waiting = self._sequence + len(self._outgoing)
        return msgspec.json.encode(SharedMark(self.position, self.worker, waiting)).decode()

    async def reached(self, tenant: str, partition: int, position: int) -> None:
        """Wait, within reason, until what the partition's last owner sent has arrived."""
        exchange = self._exchanges.get(tenant)
        remote = exchange.remotes.get(partition) if exchange is not None else None
        deadline = time.monotonic() + WAIT_SECONDS
        while remote is not None and remote.position < position:
            if time.monotonic() >= deadline:
                return
            await asyncio.sleep(LOOK_SECONDS)

    async def _follow(self) -> None:
        url = self._river.settings.kafka_url.get_secret_value()
        reading = whole_topic.follow(url, topics.ITEM_DELTAS, "springtide-deltas", self.position)
        async for fetched in reading:
            if fetched.records:
                await self._take_all(fetched.records)
            if fetched.caught_up and not self.caught_up.is_set():
                self.caught_up.set()
                log.info("deltas.caught_up", position=self.position)
                await self._greet()

    async def _greet(self) -> None:
        """Tell the others that we are there: what moves there is kept for us from now on."""
        for tenant, exchange in self._exchanges.items():
            nothing = exchange.factors.empty()
            self._outgoing.append(
                deltas_wire.from_factors(tenant, self.worker, nothing, exchange.names)
            )
        await self.flushed()

    async def _take_all(self, records: list[Any]) -> None:
        rejected = []
        for index, record in enumerate(records):
            try:
                self.take(record.value, record.offset)
            except UnusableError as error:
                rejected.append((index, str(error)))
            self.position = record.offset + 1
            await asyncio.sleep(0)  # events come first
        if rejected:
            await self._river.dead_letter(to_batch(records), rejected)
        self._tell_torn()

    def _tell_torn(self) -> None:
        """Where the statistics have holes: a start closes them, or taking the partition over."""
        of = self._exchanges.items()
        torn = {(tenant, number) for tenant, exchange in of for number in exchange.torn}
        for tenant, number in sorted(torn - self._torn):
            log.warning("deltas.torn", tenant=tenant, partition=number)
        self._torn = torn
        self._river.metrics.deltas_torn.set(len(torn))

    def take(self, value: bytes | None, offset: int) -> None:
        """Add one message to the learner it is for.

        Raises:
            UnusableError: with the reason.
        """
        message = deltas_wire.decode(value)
        if message.worker == self.worker:
            return
        if not self._river.admits(message.tenant):
            raise UnusableError("too many tenants on this worker")
        self._heard_of(message)
        self._river.learner(message.tenant)
        exchange = self._exchanges.get(message.tenant)
        if exchange is None:
            return
        if message.increments is not None:
            run = deltas_wire.to_run(message, exchange.slots(message.items))
            self._river.metrics.deltas.labels("increments").inc(exchange.take(run))
        elif not self._had(message, offset):
            slots = exchange.slots(message.items)
            exchange.factors.take(deltas_wire.to_factors(message, slots, exchange.factors.empty()))
            self._river.metrics.deltas.labels("factors").inc(len(message.items))

    def _had(self, message: ItemDelta, offset: int) -> bool:
        """Whether the movements are in our factors: from a checkpoint, or a message before."""
        mark = self.shared_from.get(message.tenant)
        if mark is not None:
            if offset < mark.deltas:
                return True
            if message.worker == mark.worker and message.sequence <= mark.sequence:
                return True
        taken = self._taken[message.worker]
        if message.sequence in taken:
            return True
        taken.append(message.sequence)
        return False


class SharedMark(msgspec.Struct, frozen=True):
    """What a shared-model checkpoint holds: offsets below `deltas`, and the writer's own steps."""

    deltas: int = 0
    worker: str = ""
    sequence: int = 0
