"""A real classifier server in a flood: the stream goes on, by the n-gram expert, and says so."""

from __future__ import annotations

import asyncio
from collections import Counter

import aiohttp

from streams.classifier_client import Answer, ClassifierClient
from streams.fallback import NGramFallback
from tests.classifier_process import classifier_process

LONG = "The second part repeats the first, and the exercises do not fit the lectures. " * 9
TEXTS = ["很好，非常喜欢", "Terrible, a waste of money", "😀😀"] * 8
QUEUE, FLOODERS, BATCHES = 32, 6, 12


def test_comments_go_on_while_the_server_is_flooded_and_come_back_after() -> None:
    with classifier_process("--queue", str(QUEUE)) as url:
        flooded, statuses, after = asyncio.run(flood(url))
    assert set(statuses) == {200, 429}
    assert [len(each) for each in flooded] == [len(TEXTS)] * BATCHES
    fallen_back = {each.version for batch in flooded for each in batch if "-ngrams" in each.version}
    assert len(fallen_back) == 1, "in a flood some batches are the expert's, and marked"
    for batch in (*flooded, after):
        assert len({each.version for each in batch}) == 1, "a batch is of one model"
        assert [each.flagged for each in batch[:3]] == [False, False, True]
        assert [each.label for each in batch[:2]] == ["positive", "negative"]
    assert fallen_back == {f"{after[0].version}-ngrams"}, "the server is asked again afterwards"


async def flood(url: str) -> tuple[list[list[Answer]], Counter[int], list[Answer]]:
    statuses: Counter[int] = Counter()
    full, over = asyncio.Event(), asyncio.Event()

    async def flooder(session: aiohttp.ClientSession) -> None:
        while not over.is_set():
            async with session.post(f"{url}/predict", json={"inputs": [LONG] * 16}) as answer:
                statuses[answer.status] += 1
                if answer.status == 429:
                    full.set()
                await answer.read()

    client = ClassifierClient(url, NGramFallback.of(None), patience=0.2)
    await client.start()
    try:
        async with aiohttp.ClientSession() as session, asyncio.TaskGroup() as group:
            for _ in range(FLOODERS):
                group.create_task(flooder(session))
            await full.wait()
            flooded = [await client.predict(TEXTS) for _ in range(BATCHES)]
            over.set()
        return flooded, statuses, await client.predict(TEXTS)
    finally:
        await client.stop()
