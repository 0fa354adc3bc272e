"""What a language model makes of items reaches the lists, on a real Kafka and the real model."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest
from prometheus_client import CollectorRegistry

from infra.local.proxy import Proxy
from infra.local.stack import LocalStack
from infra.metrics import WorkerMetrics
from infra.settings import Settings
from infra.warehouse import ArchiveWriter
from online.learner import Learner
from streams import topics, vectors_wire
from streams.catalog import Catalog
from streams.embed import Embed
from streams.embedding_client import EmbeddingClient
from streams.events import Item, encode
from streams.outlet import Outgoing, Outlet
from streams.river import River
from streams.vectors_wire import ItemVector, packed

pytestmark = pytest.mark.kafka

SUBJECTS = {
    "piano": ("钢琴零基础入门", "钢琴核心方法", "爵士钢琴即兴"),
    "sql": ("SQL 数据库入门", "数据库查询优化", "数据仓库实战"),
    "baking": ("面包烘焙入门", "法式甜点制作", "家庭蛋糕烘焙"),
    "law": ("民法典精讲", "刑法总论", "法律职业资格备考"),
}


class House:
    """A worker's catalogue and its embed task; the line to the model server can be cut."""

    def __init__(self, stack: LocalStack, folder: Path, outlet: Outlet, port: int) -> None:
        nowhere: Any = None  # no list is written and nobody is pseudonymised here
        settings = Settings(kafka_url=stack.kafka_url, data_dir=folder)
        self.tenant = f"vectors-{secrets.token_hex(4)}"
        self.outlet, self.metrics = outlet, WorkerMetrics(CollectorRegistry())
        archive = ArchiveWriter(stack.clickhouse_url)
        self.river = River(settings, self.metrics, nowhere, archive, nowhere, outlet)
        self.catalog = Catalog(self.river)
        self.client = EmbeddingClient(f"http://127.0.0.1:{port}")
        self.embed = Embed(
            self.river, self.catalog.vectors, self.client, lambda: True, self.catalog.item
        )
        self.catalog.on_withdrawn = self.embed.forget

    @property
    def learner(self) -> Learner:
        return self.river.learner(self.tenant)

    def course(self, item_id: str, title: str, **changes: Any) -> Item:
        return Item(item_id=item_id, title=title, tenant=self.tenant, **changes)

    async def publish(self, *items: Item | str) -> float:
        """Items, or ids of items that are withdrawn; when."""
        records = [
            Outgoing(topics.ITEMS, f"{self.tenant}/{each}".encode(), None, 0)
            if isinstance(each, str)
            else Outgoing(topics.ITEMS, f"{self.tenant}/{each.item_id}".encode(), encode(each), 0)
            for each in items
        ]
        await self.outlet.write(records)
        return time.monotonic()

    def taken(self, outcome: str = "taken") -> float:
        return float(self.metrics.vectors.labels(outcome)._value.get())

    def without_vector(self) -> int:
        """Items of this tenant that wait for theirs; other tests' items are on the topic too."""
        return sum(tenant == self.tenant for tenant, _ in self.catalog.vectors.missing)

    def near(self, item: str) -> str:
        """The item most similar to one; empty: none."""
        return "".join(self.learner.similar(item, 1).items)

    def with_embedding(self) -> int:
        return self.learner._shared.content.with_embedding

    async def until(self, holds: Callable[[], Any], seconds: float = 20) -> float:
        """Seconds until it holds."""
        since = time.monotonic()
        while not holds():
            assert time.monotonic() - since < seconds
            await asyncio.sleep(0.005)
        return time.monotonic() - since

    async def open(self) -> None:
        """Twelve courses of four subjects, and a user who took two on the piano."""
        courses = [
            self.course(f"{subject}-{n}", title)
            for subject, titles in SUBJECTS.items()
            for n, title in enumerate(titles)
        ]
        await self.publish(*courses)
        kinds, times = np.zeros(2, np.int8), np.arange(2.0)
        self.learner.learn(0, ["u", "u"], ["piano-0", "piano-1"], kinds, times)
        await self.until(lambda: self.with_embedding() == len(courses))


@contextlib.asynccontextmanager
async def opened(stack: LocalStack, folder: Path, server_url: str) -> AsyncIterator[Any]:
    topics.apply(stack.kafka_url)
    proxy = Proxy("127.0.0.1", urlsplit(server_url).port or 0)
    outlet = Outlet(stack.kafka_url)
    await outlet.start()
    house = House(stack, folder, outlet, await proxy.start())
    await house.client.start()
    runs = [asyncio.create_task(run()) for run in (house.catalog.run, house.embed.run)]
    try:
        await house.open()
        yield house, proxy
    finally:
        for task in runs:
            task.cancel()
        how = await asyncio.gather(*runs, return_exceptions=True)
        await house.client.stop()
        await outlet.stop()
        await proxy.stop()
        assert all(isinstance(each, asyncio.CancelledError) for each in how), how


def test_a_published_item_is_listed_by_what_it_means(
    stack: LocalStack, tmp_path: Path, server_url: str
) -> None:
    async def run() -> None:
        async with opened(stack, tmp_path, server_url) as (house, _):
            # In another language: no word in common with what the user took.
            await house.publish(
                house.course("new", "Piano for beginners", description="x" * 100_000),
                house.course("odd", ""),
            )
            seconds = await house.until(lambda: "new" in house.learner.top_k("u").items)
            print(f"published in English, listed after {seconds:.3f} s")
            near = house.learner.similar("new", 3).items
            assert near[0].startswith("piano")
            # It says something else: it moves.
            await house.publish(house.course("new", "Bread and cakes: baking at home"))
            await house.until(lambda: house.near("new").startswith("baking"))
            # Withdrawn, it is in no list; back, it is where it was.
            await house.publish("new")
            await house.until(lambda: "new" not in house.learner.similar("baking-0").items)
            await house.publish(house.course("new", "Bread and cakes: baking at home"))
            await house.until(lambda: "new" in house.learner.similar("baking-0").items)
            # Written again and again: the last text counts, and few are asked for.
            before = house.taken()
            for n in range(20):
                many = [house.course("busy", f"lesson {n} {k}") for k in range(50)]
                await house.publish(*many)
            last = house.course("busy", "数据库")
            await house.publish(last)
            await house.until(lambda: house.near("busy").startswith("sql"))
            await house.until(lambda: house.without_vector() == 0)
            assert house.taken() - before < 20

    asyncio.run(run())


def test_without_the_model_server_words_and_tags_speak_until_it_is_back(
    stack: LocalStack, tmp_path: Path, server_url: str
) -> None:
    async def run() -> None:
        async with opened(stack, tmp_path, server_url) as (house, proxy):
            await proxy.set("reset")
            await house.publish(
                house.course("zh", "爵士钢琴大师课"), house.course("en", "A piano masterclass")
            )
            await house.until(lambda: "zh" in house.learner.top_k("u").items)
            assert "en" not in house.learner.top_k("u").items
            assert house.without_vector() == 2
            await house.until(lambda: house.metrics.embed_failures._value.get() >= 2)
            await proxy.set("pass")
            await house.until(lambda: "en" in house.learner.top_k("u").items)
            await house.until(lambda: house.without_vector() == 0)

    asyncio.run(run())


def vector(item: str, version: str, text: int = 1, width: int = 8) -> bytes:
    made = np.random.default_rng(len(item) * 10 + text).normal(size=width).astype(np.float32)
    return vectors_wire.encode(
        ItemVector(tenant="t", item_id=item, model_version=version, text=text, vector=packed(made))
    )


def test_a_new_model_takes_over_once_it_has_most_items_and_the_old_one_is_ignored() -> None:
    nowhere: Any = None
    archive = ArchiveWriter("clickhouse://127.0.0.1:9/default")
    metrics = WorkerMetrics(CollectorRegistry())
    river = River(Settings(), metrics, nowhere, archive, nowhere, nowhere)
    vectors = Catalog(river).vectors

    def counted(outcome: str) -> float:
        return float(metrics.vectors.labels(outcome)._value.get())

    topic = [vector(f"i{n}", "old") for n in range(5)]
    topic += [vector(f"i{n}", "new", width=16) for n in range(5)]
    for offset, value in enumerate(topic[:7]):
        vectors.take(b"", value, offset)
    assert (vectors.version, counted("taken"), counted("other_model")) == ("old", 5, 2)
    vectors.take(b"", topic[7], 7)
    assert vectors.version == "new"
    vectors._again = False  # as when the topic is read again from its beginning
    for offset, value in enumerate(topic):
        vectors.take(b"", value, offset)
    assert vectors.version == "new"
    assert (counted("taken"), counted("other_model")) == (10, 8)
    with pytest.raises(vectors_wire.UnusableError, match="8 wide, others are 16"):
        vectors.take(b"", vector("i9", "new"), 10)


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (b"no vector at all", "Expected"),
        (vector("i", "m")[:-1], "truncated"),
        (vectors_wire.encode({"tenant": "T!", "item_id": "i"}), "tenant"),
        (vector("i", "m").replace(b"\xa6format\x01", b"\xa6format\x02"), "format 2"),
    ],
)
def test_what_is_no_vector_is_refused_with_its_reason(value: bytes, reason: str) -> None:
    with pytest.raises(vectors_wire.UnusableError, match=reason):
        vectors_wire.decode(value)
