"""Start of a worker: the item statistics of all partitions, from their checkpoints.

Not only of the partitions it will own: a list for its own users stands on what everybody did. From
there item-deltas.v1 goes on; every checkpoint says at which offset.
"""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec

from infra.telemetry import get_logger
from online.changes import of_tenant
from online.checkpoint import CheckpointStore
from online.crowding import Newest
from online.deltas_exchange import TornError
from online.state import position_in
from streams import topics
from streams.deltas import Deltas, SharedMark
from streams.in_turn import in_turn
from streams.partition import FORMAT, PartitionMeta, decode_meta, partition_name
from streams.river import River

log = get_logger("deltas")

SHARED = "shared-"
READ_AGAIN = 5


class DeltasStart:
    """Reads checkpoints for the exchange of deltas."""

    def __init__(self, river: River, deltas: Deltas, files: CheckpointStore) -> None:
        self._river = river
        self._deltas = deltas
        self._files = files

    async def prepare(self) -> None:
        """Before partitions are assigned: what all workers know, and where to go on reading."""
        names = await asyncio.to_thread(self._files.names)
        partitions = [name for name in names if name.startswith("partition-")]
        shared = [name for name in names if name.startswith(SHARED)]
        crowded = [name for name in shared if not await self._load_shared(name)]
        if crowded:
            await self._choose_items([tenant_of(name) for name in crowded], partitions)
        positions = []
        for name in partitions:
            meta, arrays = await asyncio.to_thread(self._read, name)
            positions.append(meta.deltas)
            self._load(meta, arrays)
        for name in crowded:
            await self._load_shared(name, crowded=True)
            left_out = self._river.learner(tenant_of(name)).left_out.items_dropped
            log.warning("items.dropped", tenant=tenant_of(name), items=left_out)
        url = self._river.settings.kafka_url.get_secret_value()
        count = await asyncio.to_thread(topics.partition_count, url, topics.CLICKS)
        # Of a partition that never had a checkpoint everything may still be on the topic.
        self._deltas.position = min(positions) if len(positions) >= count else 0

    async def _load_shared(self, name: str, crowded: bool = False) -> bool:
        """False, and nothing done, where its items would crowd the table, unless that is known."""
        found = await asyncio.to_thread(self._files.read, name)
        tenant = tenant_of(name)
        if found is None or not self._river.admits(tenant):
            return True
        learner = self._river.learner(tenant)
        if not crowded and learner.crowding.crowds(found.arrays):
            return False
        learner.load_shared(found.arrays)
        self._deltas.shared_from[tenant] = msgspec.json.decode(found.header, type=SharedMark)
        return True

    async def _choose_items(self, tenants: list[str], partitions: list[str]) -> None:
        """Of items that are too many those that were taken last, by whomever, have slots first."""
        newest = {tenant: Newest() for tenant in tenants}
        for name in partitions:
            meta, arrays = await asyncio.to_thread(self._read, name)
            for tenant in set(meta.tenants) & set(tenants):
                newest[tenant].add(of_tenant(tenant, arrays))
        for tenant, each in newest.items():
            self._river.learner(tenant).crowding.choose(each)

    def _read(self, name: str) -> tuple[PartitionMeta, dict[str, Any]]:
        found = self._files.read(name)
        assert found is not None
        return decode_meta(found.header, PartitionMeta, FORMAT), found.arrays

    def _load(self, meta: PartitionMeta, arrays: dict[str, Any]) -> None:
        for tenant in meta.tenants:
            learner = self._river.learner(tenant)
            if learner.exchange is None:
                continue
            position = learner.load_others(of_tenant(tenant, arrays))
            learner.exchange.loaded(meta.partition, meta.epoch, position)

    async def take_over(
        self, partition: int, tenant: str, arrays: dict[str, Any], first: list[dict[str, Any]]
    ) -> None:
        """Load a partition that is ours now; whatever others sent of it is counted once.

        Args:
            first: receives the whole partition, as our own checkpoints then go on from it.
        """
        learner = self._river.learner(tenant)
        await self._deltas.reached(tenant, partition, position_in(arrays))
        try:
            await in_turn(learner.loading(partition, arrays, first))
        except TornError as error:
            log.warning("deltas.rebuild", tenant=tenant, reason=str(error))
            await self._rebuild(tenant, partition, arrays)
            await in_turn(learner.loading(partition, arrays, first))

    async def _rebuild(self, tenant: str, partition: int, arrays: dict[str, Any]) -> None:
        """Read every partition's checkpoint again: a hole is closed by what the owner kept.

        While one is read another's owner writes his next, and we let go what that one holds: what
        was read of him before is too old then.
        """
        learner = self._river.learner(tenant)
        assert learner.exchange is not None
        remotes = learner.exchange.remotes
        found = {partition: arrays}
        for _ in range(READ_AGAIN):
            old = [
                number
                for number in set(remotes) - {partition}
                if number not in found or position_in(found[number]) < remotes[number].kept.settled
            ]
            if not old:
                break
            for number in old:
                file = await asyncio.to_thread(self._files.read, partition_name(number))
                found[number] = {} if file is None else of_tenant(tenant, file.arrays)

        learner.exchange.rebuild(
            lambda number: learner.load_others(found.get(number, {})), partition
        )


def tenant_of(name: str) -> str:
    """The tenant whose shared model a checkpoint is."""
    return name.removeprefix(SHARED)
