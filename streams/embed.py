"""embed: asks the model server for the vectors that are missing, and puts them on item-vectors.v1.

One worker does it for all, the one that owns the monitor's partition. Nobody waits for it: while
the server is away items are compared by words and tags alone, `springtide_items_without_vector`
says of how many that is so, and once it is back they are caught up with, the newest first.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import numpy as np

from infra.telemetry import get_logger
from streams import topics, vectors_wire
from streams.embedding_client import AwayError, Embedded, EmbeddingClient, RefusedError
from streams.events import Item
from streams.item_texts import Key, Seldom, spoken_by
from streams.item_vectors import ItemVectors
from streams.outlet import Outgoing
from streams.river import River
from streams.vectors_wire import ItemVector, digest_of, packed

log = get_logger("vectors")

AT_ONCE = 16  # texts: a quarter of a second of one core
LOOK_SECONDS = 0.5
EACH_SECONDS = 1.0  # an item that is written all the time is not asked for more often
RETRY_SECONDS = (0.1, 0.3, 1.0, 2.0, 5.0)


class Embed:
    """The embed task of a worker.

    Args:
        owner: whether this worker is the one that asks.
        item: an item as the catalogue has it now.
    """

    def __init__(
        self,
        river: River,
        vectors: ItemVectors,
        client: EmbeddingClient,
        owner: Callable[[], bool],
        item: Callable[[Key], Item | None],
    ) -> None:
        self._river = river
        self._vectors = vectors
        self._client = client
        self._owner = owner
        self._item = item
        self._seldom = Seldom(EACH_SECONDS)
        self._gone: list[Key] = []
        self._failed = 0

    def forget(self, key: Key) -> None:
        """An item is gone: what was made of it goes too."""
        if self._owner():
            self._gone.append(key)
            self._vectors.more.set()

    async def run(self) -> None:
        """Ask for as long as the worker lives."""
        await self._vectors.caught_up.wait()
        while True:
            await self._vectors.more.wait()
            if not self._owner():
                await asyncio.sleep(LOOK_SECONDS)
                continue
            await self._bury()
            wanted = self._seldom.pick(self._vectors.missing, AT_ONCE)
            if not wanted:
                if not (self._vectors.missing or self._gone):
                    self._vectors.more.clear()
                await asyncio.sleep(LOOK_SECONDS / 10)
                continue
            try:
                await self._ask(wanted)
                self._failed = 0
            except AwayError as error:
                await self._wait(error)

    async def _ask(self, keys: Sequence[Key]) -> None:
        """Vectors of these items, as far as the server has some, onto the topic."""
        texts = {key: spoken_by(item) for key in keys if (item := self._item(key)) is not None}
        if not texts:
            return
        urgent = len(self._vectors.missing) <= AT_ONCE
        try:
            found = await self._client.embed(list(texts.values()), urgent)
        except RefusedError:
            found = await self._one_by_one(texts, urgent)
        self._vectors.ask_for(found.version)
        records = []
        for (key, text), vector in zip(texts.items(), found.vectors, strict=True):
            made = ItemVector(
                tenant=key[0], item_id=key[1], model_version=found.version,
                text=digest_of(text), vector=packed(vector),
            )  # fmt: skip
            records.append(Outgoing(topics.ITEM_VECTORS, _name(key), vectors_wire.encode(made), 0))
        await self._river.outlet.write(records)
        for key, text in texts.items():
            self._vectors.sent(key, digest_of(text))

    async def _one_by_one(self, texts: dict[Key, str], urgent: bool) -> Embedded:
        """Those that the server takes; the others leave `texts`, and are not asked for again."""
        taken, refused = [], {}
        for key, text in list(texts.items()):
            try:
                taken.append(await self._client.embed([text], urgent))
            except RefusedError as error:
                refused[key] = texts.pop(key)
                log.warning("vectors.refused", item=key[1], error=str(error))
        if not taken:  # it is the server, not one of the texts
            raise AwayError("refuses every text")
        if len({each.version for each in taken}) > 1:
            raise AwayError("exchanged its model meanwhile")
        for key, text in refused.items():
            self._vectors.refused(key, digest_of(text))
        return Embedded(np.concatenate([each.vectors for each in taken]), taken[-1].version)

    async def _bury(self) -> None:
        gone, self._gone = self._gone, []
        records = [
            Outgoing(topics.ITEM_VECTORS, _name(key), None, 0)
            for key in gone
            if self._item(key) is None
        ]
        if records:
            await self._river.outlet.write(records)

    async def _wait(self, error: AwayError) -> None:
        wait = RETRY_SECONDS[min(self._failed, len(RETRY_SECONDS) - 1)]
        self._failed += 1
        self._river.metrics.embed_failures.inc()
        if self._failed <= len(RETRY_SECONDS):
            log.warning("vectors.retry", error=str(error), wait_seconds=wait)
        await asyncio.sleep(wait)


def _name(key: Key) -> bytes:
    return "/".join(key).encode()
