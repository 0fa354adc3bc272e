"""Comments go on while the classifier is away or full: scored by the n-gram expert, and marked."""

from __future__ import annotations

import asyncio
import time

from aiohttp import web

from models import registry
from streams.classifier_client import Answer, ClassifierClient
from streams.fallback import NGramFallback

TEXTS = ["很好，非常喜欢", "Terrible, a waste of money", "😀😀"]


class Server:
    """A classifier server that is full until told otherwise."""

    def __init__(self) -> None:
        self.full = True
        self.asked = 0
        self.url = ""

    async def start(self) -> web.AppRunner:
        app = web.Application()
        app.router.add_get("/info", self._info)
        app.router.add_post("/predict", self._predict)
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        return runner

    async def _info(self, request: web.Request) -> web.Response:
        return web.json_response({"model_version": "the-model"})

    async def _predict(self, request: web.Request) -> web.Response:
        self.asked += 1
        if self.full:
            return web.json_response({"error": "full"}, status=429)
        texts = (await request.json())["inputs"]
        certain = {"negative": 0.0, "neutral": 0.0, "positive": 1.0}
        answer = [{"label": label, "score": score} for label, score in certain.items()]
        return web.json_response([answer] * len(texts))


def fallback() -> NGramFallback:
    found = NGramFallback.of(None)
    assert found is not None
    return found


def test_the_expert_reads_comments_and_says_what_it_cannot_read() -> None:
    answers = fallback().predict(TEXTS)
    assert [answer.label for answer in answers] == ["positive", "negative", "neutral"]
    assert [answer.flagged for answer in answers] == [False, False, True]
    packaged = registry.read_manifest(registry.packaged_artifact()).version
    assert {answer.version for answer in answers} == {f"{packaged}-ngrams"}


def test_a_full_server_is_not_waited_for_beyond_patience_and_asked_again() -> None:
    async def go() -> tuple[list[Answer], float, int, list[Answer]]:
        server = Server()
        runner = await server.start()
        client = ClassifierClient(server.url, fallback(), patience=0.3)
        await client.start()
        try:
            await client.predict(TEXTS)
            began, asked = time.monotonic(), server.asked
            bridged = await client.predict(TEXTS)
            took, once = time.monotonic() - began, server.asked - asked
            server.full = False
            return bridged, took, once, await client.predict(TEXTS)
        finally:
            await client.stop()
            await runner.cleanup()

    bridged, took, once, served = asyncio.run(go())
    assert all(answer.version.endswith("-ngrams") for answer in bridged)
    assert once == 1, "out of patience, the server is asked once a batch"
    assert took < 1.0
    assert {answer.version for answer in served} == {"the-model"}


def test_nobody_there_is_bridged_too() -> None:
    async def go() -> list[Answer]:
        client = ClassifierClient("http://127.0.0.1:9", fallback(), patience=0.2)
        await client.start()
        try:
            return await client.predict(TEXTS)
        finally:
            await client.stop()

    assert len(asyncio.run(go())) == len(TEXTS)
