"""Exported counts: the noise's distribution, the bound on a person's share, and what goes out."""

from __future__ import annotations

import asyncio
import json
import math
import os
import secrets
import subprocess
import sys
from collections import Counter
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from infra import warehouse
from infra.local.stack import LocalStack
from infra.warehouse import ArchiveWriter, Warehouse
from streams import topics
from streams.events import Item, encode, item_key
from streams.export import Period, half_width, release
from streams.outlet import Outgoing, Outlet
from streams.privacy import discrete_laplace

SPRINGTIDE = str(Path(sys.executable).with_name("springtide"))
NO_NOISE = Fraction(10**9)
NOW = datetime.now(UTC)


@pytest.mark.parametrize("scale", [Fraction(1, 2), Fraction(7, 3)])
def test_the_noise_has_the_distribution_that_is_promised(scale: Fraction) -> None:
    draws, decay = 4_000, math.exp(-float(1 / scale))
    found = Counter(min(9, max(-9, discrete_laplace(scale))) for _ in range(draws))
    wanted = {x: (1 - decay) / (1 + decay) * decay ** abs(x) for x in range(-8, 9)}
    wanted[9] = wanted[-9] = decay**9 / (1 + decay)
    assert sum(wanted.values()) == pytest.approx(1)
    often = [x for x, share in wanted.items() if share * draws >= 5]
    chi2 = sum((found[x] - wanted[x] * draws) ** 2 / (wanted[x] * draws) for x in often)
    assert chi2 < len(often) + 6 * math.sqrt(2 * len(often))  # 6 standard deviations
    width = half_width(scale)
    within = sum(share for x, share in wanted.items() if abs(x) <= width)
    assert within >= 0.95 > within - 2 * wanted[width]


@pytest.mark.parametrize("scale", [Fraction(1, 9), Fraction(1), Fraction(20), Fraction(997, 3)])
def test_the_width_is_the_least_that_holds_95_of_100(scale: Fraction) -> None:
    decay, width = math.exp(-float(1 / scale)), half_width(scale)
    outside = [2 * decay ** (w + 1) / (1 + decay) for w in (width - 1, width)]
    assert outside[1] <= 0.05 and (width == 0 or outside[0] > 0.05)
    assert half_width(scale * 10**9) > 0  # at once


def test_no_scale_is_no_noise_and_is_refused() -> None:
    with pytest.raises(ValueError, match="above zero"):
        discrete_laplace(Fraction(0))


@pytest.fixture(scope="module")
def counted(stack: LocalStack) -> str:
    """30 people who took 30 items each, four times each."""
    url = stack.clickhouse_url.rpartition("/")[0] + f"/export_{secrets.token_hex(4)}"
    warehouse.migrate(url)
    writer = ArchiveWriter(url)
    pairs = [(u, i) for u in range(30) for i in range(30)] * 4
    columns: dict[str, Any] = {
        "id": [f"e{n}" for n in range(len(pairs))],
        "tenant": ["school"] * len(pairs),
        "user_key": [f"k-{u}" for u, _ in pairs],
        "item_id": [f"i{i}" for _, i in pairs],
        "received_at": [int((NOW - timedelta(days=2)).timestamp() * 1000)] * len(pairs),
        "offset": list(range(len(pairs))),
    }
    writer.append_columns("interactions", "clicks.v1", 0, columns)
    assert writer.flush() == len(pairs)
    return url


def counts(url: str, most: int, epsilon: Fraction = NO_NOISE) -> dict[str, int]:
    client = Warehouse(url)
    period = Period("school", NOW - timedelta(days=7), NOW)
    names = [f"i{i}" for i in range(31)]  # one that nobody took
    found = release(client, names, period, epsilon, most)
    client.close()
    return {item: numbers["people"] for item, numbers in found.items.items()}


def test_a_person_counts_once_an_item_and_in_so_many_items(counted: str) -> None:
    everyone = counts(counted, 1_000)
    assert everyone == {f"i{i}": 30 for i in range(30)} | {"i30": 0}
    bounded = counts(counted, 7)
    assert sum(bounded.values()) == 30 * 7 and bounded["i30"] == 0


def test_what_goes_out_has_noise_on_every_item(counted: str) -> None:
    noisy = counts(counted, 10, Fraction(1, 10))  # a scale of 200
    assert set(noisy) == {f"i{i}" for i in range(31)}
    assert len(set(noisy.values())) > 20


@pytest.mark.kafka
def test_the_command_writes_the_counts_and_says_the_budget(
    stack: LocalStack, counted: str, tmp_path: Path
) -> None:
    topics.apply(stack.kafka_url)

    async def send() -> None:
        outlet = Outlet(stack.kafka_url)
        await outlet.start()
        item = Item(item_id="i1", title="One", tenant="school")
        await outlet.write([Outgoing(topics.ITEMS, item_key("school", "i1"), encode(item), 0)])
        await outlet.stop()

    asyncio.run(send())
    environment = {**os.environ, **stack.environment(), "SPRINGTIDE_CLICKHOUSE_URL": counted}
    command = [SPRINGTIDE, "export", "items", "--tenant", "school", "--out", str(tmp_path / "o")]
    done = subprocess.run(
        [*command, "--epsilon", "0.5"],
        env=environment, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert (said["epsilon"], said["delta"], said["items"], said["most_items"]) == (0.5, 0, 1, 10)
    lines = (tmp_path / "o").read_text().splitlines()
    assert lines[0] == "item_id,people,negative" and lines[1].startswith("i1,")
    refused = subprocess.run(
        [*command, "--epsilon", "0"],
        env=environment, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert refused.returncode == 2 and "--epsilon 0" in refused.stderr
