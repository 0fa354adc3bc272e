"""Comments go on while the classifier is away, full, silent or odd: the n-gram expert scores."""

from __future__ import annotations

import asyncio
import json
import shutil
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest
from aiohttp import web

from models import registry, versions
from streams.classifier_client import Answer, ClassifierClient
from streams.fallback import NGramFallback

TEXTS = ["很好，非常喜欢", "Terrible, a waste of money", "😀😀"]


CERTAIN = [
    {"label": "negative", "score": 0.0},
    {"label": "neutral", "score": 0.0},
    {"label": "positive", "score": 1.0},
]


class Server:
    """A classifier server that is full until told otherwise.

    Attributes:
        silent: it takes a question and says nothing.
        odd: what it answers, whatever is asked.
    """

    def __init__(self, full: bool = True, info: str = '{"model_version": "the-model"}') -> None:
        self.full = full
        self.silent = False
        self.odd: Any = None
        self._told = info
        self.asked = 0
        self.url = ""

    async def start(self) -> web.AppRunner:
        app = web.Application()
        app.router.add_get("/info", self._info)
        app.router.add_post("/predict", self._predict)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        return runner

    async def _info(self, request: web.Request) -> web.Response:
        return web.Response(text=self._told, content_type="application/json")

    async def _predict(self, request: web.Request) -> web.Response:
        self.asked += 1
        if self.full:
            return web.json_response({"error": "full"}, status=429)
        if self.silent:
            await asyncio.sleep(60)
        if self.odd is not None:
            return web.json_response(self.odd)
        return web.json_response([CERTAIN] * len((await request.json())["inputs"]))


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


def test_the_expert_is_the_one_of_the_current_version(tmp_path: Path) -> None:
    kept, other = tmp_path / "versions", tmp_path / "other"
    first = versions.promote(kept, str(registry.packaged_artifact()))
    found = NGramFallback.of(kept)
    assert found is not None and found.predict(TEXTS)[0].version == f"{first}-ngrams"
    shutil.copytree(registry.packaged_artifact(), other)
    plain = registry.read_manifest(other)
    digests = {name: each for name, each in plain.sha256.items() if name != registry.TOPICS}
    registry.write_manifest(other, msgspec.structs.replace(plain, topics={}, sha256=digests))
    second = versions.promote(kept, str(other))
    assert found.predict(TEXTS)[0].version == f"{second}-ngrams"
    without = msgspec.structs.replace(plain, stack=None, topics={}, sha256={})
    registry.write_manifest(other, without)
    versions.promote(kept, str(other))
    assert found.predict(TEXTS)[0].version == f"{second}-ngrams", "one without an expert has none"
    versions.roll_back(kept)
    (kept / second / registry.NGRAMS).write_bytes(b"")
    assert found.predict(TEXTS)[0].label == "positive"


def test_where_the_server_refused_the_current_version_its_own_expert_answers(
    tmp_path: Path,
) -> None:
    kept, other = tmp_path / "versions", tmp_path / "other"
    first = versions.promote(kept, str(registry.packaged_artifact()))
    shutil.copytree(registry.packaged_artifact(), other)
    plain = registry.read_manifest(other)
    digests = {name: each for name, each in plain.sha256.items() if name != registry.TOPICS}
    registry.write_manifest(other, msgspec.structs.replace(plain, topics={}, sha256=digests))
    second = versions.promote(kept, str(other))

    async def go() -> list[str]:
        server = Server(full=False, info=json.dumps({"model_version": first}))
        runner = await server.start()
        client = ClassifierClient(server.url, NGramFallback.of(kept), patience=0.2)
        await client.start()
        try:
            served = await client.predict(TEXTS)
            server.full = True
            return [served[0].version, (await client.predict(TEXTS))[0].version]
        finally:
            await client.stop()
            await runner.cleanup()

    assert asyncio.run(go()) == [first, f"{first}-ngrams"]
    found = NGramFallback.of(kept)
    assert found is not None
    assert found.predict(TEXTS, served=first)[0].version == f"{first}-ngrams"
    for unknown in ("sentiment-elsewhere", "../other", ""):
        assert found.predict(TEXTS, served=unknown)[0].version == f"{second}-ngrams"


def test_no_more_is_asked_at_once_than_the_server_takes() -> None:
    async def go() -> tuple[list[Answer], int]:
        server = Server(full=False, info='{"max_client_batch_size": 2}')
        runner = await server.start()
        client = ClassifierClient(server.url)
        await client.start()
        try:
            return await client.predict([*TEXTS, *TEXTS[:2]]), server.asked
        finally:
            await client.stop()
            await runner.cleanup()

    answers, asked = asyncio.run(go())
    assert (len(answers), asked) == (5, 3)


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


def test_a_silent_server_is_bridged_after_patience_and_left_alone_as_long_as_it_took() -> None:
    async def go() -> tuple[float, float, int, list[Answer]]:
        server = Server(full=False)
        runner = await server.start()
        client = ClassifierClient(server.url, fallback(), patience=0.5)
        await client.start()
        try:
            await client.predict(TEXTS)
            server.silent, began = True, time.monotonic()
            await client.predict(TEXTS)
            first, asked = time.monotonic() - began, server.asked
            await client.predict(TEXTS)
            second, again = time.monotonic() - began - first, server.asked - asked
            server.silent = False
            await asyncio.sleep(first)
            return first, second, again, await client.predict(TEXTS)
        finally:
            await client.stop()
            await runner.cleanup()

    first, second, again, served = asyncio.run(go())
    assert 0.5 <= first < 10, "patience counts from the question, not from the first failure"
    assert second < 0.5
    assert again == 0
    assert {answer.version for answer in served} == {"the-model"}


async def told(server: Server) -> list[Answer]:
    """What a client of little patience makes of the server's answers."""
    runner = await server.start()
    client = ClassifierClient(server.url, fallback(), patience=0.2)
    await client.start()
    try:
        return await client.predict(TEXTS)
    finally:
        await client.stop()
        await runner.cleanup()


@pytest.mark.parametrize(
    "odd",
    [
        [],
        [CERTAIN] * 4,
        [CERTAIN[:2]] * 3,
        [[{"label": "LABEL_0", "score": 1.0}]] * 3,
        {"error": "none"},
    ],
)
def test_an_answer_of_another_shape_is_none(odd: Any) -> None:
    server = Server(full=False)
    server.odd = odd
    answers = asyncio.run(told(server))
    assert [answer.version.endswith("-ngrams") for answer in answers] == [True] * 3


def test_a_server_that_says_nothing_of_itself_that_can_be_read_is_none() -> None:
    assert len(asyncio.run(told(Server(full=False, info="<html>")))) == len(TEXTS)
