"""The trunk in our own machine code: the vectors of torch's fp32, whatever stands beside a text."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from models import tile_amx
from models.forward import Forward, fused
from models.layouts import Padded
from models.shape import read_trunk
from models.tile_amx import AMX_UNIT
from models.tile_bytes import BYTE_UNIT
from models.tile_lanes import LANE_UNIT
from models.tile_products import Unit
from models.tiles import Tiles, byte_unit, unit
from tests.models import emulated_tiles

LENGTHS = (1, 3, 16, 17, 32, 33, 64, 80, 200, 512)

pytestmark = pytest.mark.skipif(
    unit() is None, reason="this processor has no bf16 units: torch serves here, see test_parity"
)


@pytest.fixture(scope="module")
def rows() -> list[list[int]]:
    generator = np.random.default_rng(1)
    return [generator.integers(5, 250_000, each).tolist() for each in LENGTHS]


@pytest.fixture(scope="module", params=["bytes", "lanes", "amx"])
def two_layers(trunk: Path, request: pytest.FixtureRequest) -> tuple[Forward, Tiles]:
    given = {"bytes": byte_unit(), "lanes": LANE_UNIT, "amx": AMX_UNIT}[request.param]
    if given is None:
        pytest.skip("this processor multiplies no bytes")
    if given is AMX_UNIT and unit() is not AMX_UNIT:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(tile_amx, "_tile", emulated_tiles.tile)
            return _two_layers(trunk, given, threads=1)
    return _two_layers(trunk, given, threads=2)


def _two_layers(trunk: Path, given: Unit, threads: int) -> tuple[Forward, Tiles]:
    shape, weights = read_trunk(trunk)
    shape = msgspec.structs.replace(shape, layers=2)
    whole = fused(shape, weights)
    word = whole["embeddings.word_embeddings.weight"].bfloat16()
    tiles = Tiles(2, shape.num_attention_heads, shape.layer_norm_eps, whole, word, given, threads)
    return Forward(shape, weights, "cpu", "float32"), tiles


def test_vectors_are_those_of_fp32(
    two_layers: tuple[Forward, Tiles], rows: list[list[int]]
) -> None:
    exact, tiles = two_layers
    weights = np.random.default_rng(2).random(250_037, np.float32)
    with torch.inference_mode():
        for of_ids in (None, weights):
            given = None if of_ids is None else torch.from_numpy(of_ids)
            expected = exact.vectors(Padded(rows, 1, "cpu"), given).numpy()
            found = tiles.vectors(rows, of_ids)
            share, most = (0.04, 0.08) if tiles.unit is BYTE_UNIT else (0.01, 0.02)
            assert np.abs(found - expected).mean() < share * np.abs(expected).mean()
            np.testing.assert_allclose(found, expected, atol=most)


def test_a_text_has_the_same_vector_in_any_company(
    two_layers: tuple[Forward, Tiles], rows: list[list[int]]
) -> None:
    _, tiles = two_layers
    many = 4 if tiles.unit is not AMX_UNIT or unit() is AMX_UNIT else 1
    alone = np.concatenate([tiles.vectors([row]) for row in rows])
    orders = [list(np.random.default_rng(each).permutation(len(rows))) for each in range(4)]

    def together(order: list[int]) -> NDArray[np.float32]:
        return tiles.vectors([rows[index] for index in order])

    with ThreadPoolExecutor(many) as threads:
        for order, found in zip(orders, threads.map(together, orders), strict=True):
            np.testing.assert_array_equal(found, alone[order])


def test_torch_computes_in_the_same_thread(two_layers: tuple[Forward, Tiles]) -> None:
    _, tiles = two_layers
    matrix = torch.randn(256, 256, dtype=torch.bfloat16)
    before = matrix @ matrix
    tiles.vectors([[5, 6, 7]])
    assert tiles.peak() > 0
    assert torch.equal(matrix @ matrix, before)


@pytest.mark.parametrize("bad", [[], [[]], [[5] * 513], [[5, 250_037]], [[-1]]])
def test_no_memory_but_its_own_is_read(
    two_layers: tuple[Forward, Tiles], bad: list[list[int]]
) -> None:
    with pytest.raises(ValueError, match="token"):
        two_layers[1].vectors(bad)
