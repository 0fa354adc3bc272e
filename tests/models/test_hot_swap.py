"""Versions are exchanged, and one runs in the shadow, while the real server answers."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Callable
from pathlib import Path

import aiohttp
import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from models import registry, versions
from tests.classifier_process import classifier_process

TEXTS = ["Great course!", "太差了，浪费钱", "It starts on Monday", "x", ""]
REQUESTS, CONNECTIONS, SWAPS = 10_000, 16, 3


def samples(url: str, name: str) -> dict[str, float]:
    families = text_string_to_metric_families(httpx.get(f"{url}/metrics", timeout=60).text)
    return {
        sample.labels.get("outcome", ""): sample.value
        for family in families
        for sample in family.samples
        if sample.name == name
    }


@pytest.mark.timeout(900)
def test_ten_thousand_requests_while_versions_change_are_all_answered_by_a_whole_one(
    tmp_path: Path, remade: Callable[[str], Path]
) -> None:
    folder = tmp_path / "versions"
    first = versions.promote(folder, str(registry.packaged_artifact()))
    others = [versions.promote(folder, str(remade("x" * n))) for n in range(1, SWAPS)]
    versions.promote(folder, first)
    order = itertools.cycle([*others, first])
    with classifier_process("--model", str(folder)) as url:
        answered = asyncio.run(swap_under_load(url, folder, order))
        assert sum(map(len, answered.values())) >= REQUESTS
        assert set(answered) == {first, *others}
        # Each version has an answer of its own; half of one and half of another would show.
        ranges = sorted((min(each), max(each)) for each in answered.values())
        assert all(high - low < 0.03 for low, high in ranges), ranges
        assert all(a[1] < b[0] for a, b in itertools.pairwise(ranges)), ranges
        assert samples(url, "springtide_classifier_swaps_total")["taken"] == SWAPS
        check_shadow(url, folder, others[0])


async def swap_under_load(
    url: str, folder: Path, order: itertools.cycle[str]
) -> dict[str, list[float]]:
    """Version → its answers to one text; asks until all requests and exchanges are done."""
    answered: dict[str, list[float]] = {}
    swapped = asyncio.Event()

    async def asker(session: aiohttp.ClientSession) -> None:
        while sum(map(len, answered.values())) < REQUESTS or not swapped.is_set():
            async with session.post(f"{url}/predict", json={"inputs": TEXTS[0]}) as answer:
                assert answer.status == 200, await answer.text()
                scores = {each["label"]: each["score"] for each in await answer.json()}
                version = answer.headers["x-model-version"]
                answered.setdefault(version, []).append(scores["positive"])

    def exchange() -> None:
        for number in range(SWAPS):
            versions.promote(folder, next(order))
            while samples(url, "springtide_classifier_swaps_total").get("taken", 0) <= number:
                time.sleep(0.2)

    async def exchanger() -> None:
        await asyncio.to_thread(exchange)
        swapped.set()

    async with aiohttp.ClientSession() as session, asyncio.TaskGroup() as group:
        for _ in range(CONNECTIONS):
            group.create_task(asker(session))
        group.create_task(exchanger())
    return answered


def check_shadow(url: str, folder: Path, version: str) -> None:
    versions.run_in_shadow(folder, version)
    deadline = time.monotonic() + 120
    while not (found := samples(url, "springtide_classifier_shadow_total")).get("agreed"):
        assert time.monotonic() < deadline, found
        answer = httpx.post(f"{url}/predict", json={"inputs": TEXTS})
        assert answer.headers["x-model-version"] != version
        time.sleep(0.2)
