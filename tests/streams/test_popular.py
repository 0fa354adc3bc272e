"""The fallback list goes on when its writer goes, on a real Valkey."""

from __future__ import annotations

import asyncio
from pathlib import Path

import numpy as np

from infra.local.ports import free_port
from infra.serving import AsyncRedisTopKStore
from online.learner import Kind
from streams.catalog import Catalog
from streams.partition import PartitionState
from streams.popular import Popular
from streams.river import River
from tests.streams.test_lists_again import forgetful_valkey, taught


def hit(rivers: list[River], item: str, users: int) -> None:
    """Every worker hears of it."""
    kinds = np.full(users, Kind.CLICK, dtype=np.int8)
    for river in rivers:
        river.learner("t").learn(
            0, [f"{item}-{n}" for n in range(users)], [item] * users, kinds, np.zeros(users)
        )


def test_who_is_given_partition_0_writes_it_though_a_later_worker_did(tmp_path: Path) -> None:
    port, nowhere = free_port(), None

    async def scenario() -> list[str]:
        store = await AsyncRedisTopKStore.connect(f"redis://127.0.0.1:{port}/0")

        async def first() -> str:
            found = await store.popular("t")
            assert found is not None
            return found.items[0]

        rivers = [taught(store), taught(store)]
        early, late = (Popular(each, Catalog(each), nowhere) for each in rivers)  # type: ignore[arg-type]
        await early.refresh()
        rivers[0].partition_lost(0)
        hit(rivers, "one", 50)
        await early.refresh()  # it is not its own any more
        firsts = [await first()]
        await late.refresh()
        firsts.append(await first())
        rivers[1].partition_lost(0)
        rivers[0].partition_loaded(PartitionState(0, 3))
        await early.refresh()
        hit(rivers, "two", 200)
        await early.refresh()
        firsts.append(await first())
        await store.close()
        return firsts

    with forgetful_valkey(tmp_path, port):
        started, *hits = asyncio.run(scenario())
    assert started not in hits and hits == ["one", "two"]
