"""The embed task and its client, where no broker is needed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import numpy as np
import pytest
from aiohttp import web

from streams.embed import Embed
from streams.embedding_client import AwayError, Embedded, EmbeddingClient, RefusedError
from streams.outlet import Outgoing


@asynccontextmanager
async def asking(routes: Sequence[web.RouteDef]) -> AsyncIterator[EmbeddingClient]:
    """A client of a server that answers so."""
    app = web.Application()
    app.add_routes(routes)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    client = EmbeddingClient(f"http://127.0.0.1:{runner.addresses[0][1]}")
    await client.start()
    try:
        yield client
    finally:
        await client.stop()
        await runner.cleanup()


def test_a_refusal_in_no_encoding_is_a_refusal() -> None:
    async def refuse(request: web.Request) -> web.Response:
        return web.Response(status=400, body=b"r\xe9f\xfbs\xe9", content_type="text/html")

    async def go() -> None:
        async with asking([web.post("/embed", refuse)]) as client:
            with pytest.raises(RefusedError, match="400"):
                await client.embed(["a"], urgent=True)

    asyncio.run(go())


def test_texts_begin_as_the_trunk_there_was_trained() -> None:
    said: dict[str, str] = {}
    told = {"version": "a", "status": 404}
    seen: list[list[str]] = []

    async def info(request: web.Request) -> web.Response:
        return web.json_response(said, status=int(told["status"]))

    async def embed(request: web.Request) -> web.Response:
        seen.append((await request.json())["inputs"])
        headers = {"x-model-version": str(told["version"])}
        return web.json_response([[1.0]] * len(seen[-1]), headers=headers)

    async def go() -> None:
        async with asking([web.get("/info", info), web.post("/embed", embed)]) as client:
            # One that says nothing of it is thought to have E5.
            assert (await client.embed(["x"], urgent=True)).version == "a"
            told.update(status=200, version="b")
            assert (await client.embed(["x"], urgent=True)).version == "b"
            said["embedding_prefix"] = ""
            told["version"] = "c"
            with pytest.raises(AwayError, match="another prefix"):
                await client.embed(["x"], urgent=True)
            assert (await client.embed(["x"], urgent=True)).version == "c"

    asyncio.run(go())
    assert seen == [["query: x"]] * 3 + [["x"]]


def test_an_item_that_goes_while_another_is_buried_is_buried_too() -> None:
    class Vectors:
        def __init__(self) -> None:
            self.caught_up, self.more = asyncio.Event(), asyncio.Event()
            self.missing: dict[Any, None] = {}

    async def go() -> list[bytes]:
        buried: list[bytes] = []

        class River:
            class outlet:  # noqa: N801
                @staticmethod
                async def write(records: list[Outgoing]) -> None:
                    buried.extend(record.key for record in records)
                    if len(buried) == 1:
                        task.forget(("t", "second"))

        vectors, nowhere = Vectors(), lambda key: None
        river: Any = River
        known: Any = vectors
        client: Any = None
        task = Embed(river, known, client, lambda: True, nowhere)
        vectors.caught_up.set()
        task.forget(("t", "first"))
        running = asyncio.create_task(task.run())
        await asyncio.wait({running}, timeout=2)
        running.cancel()
        return buried

    assert asyncio.run(go()) == [b"t/first", b"t/second"]


def test_vectors_of_two_models_are_never_taken_for_those_of_one() -> None:
    class Exchanging:
        """Refuses texts together, and has another model with each."""

        asked = 0

        async def embed(self, texts: list[str], urgent: bool) -> Embedded:
            if len(texts) > 1:
                raise RefusedError("413")
            self.asked += 1
            return Embedded(np.zeros((1, 8 * self.asked), np.float32), f"model-{self.asked}")

    nowhere: Any = None
    client: Any = Exchanging()
    task = Embed(nowhere, nowhere, client, lambda: True, lambda key: None)
    with pytest.raises(AwayError, match="exchanged"):
        asyncio.run(task._one_by_one({("t", "a"): "a", ("t", "b"): "b"}, urgent=False))
