"""The trunk on a CPU with bf16 units: weights laid out as tiles, `tile_forward` called with them.

Twice as fast as torch's own bf16 with AMX, and more than three times with AVX-512 alone
(`docs/decisions/2026-11-27-tiles-on-amx.md`, `…-lanes-without-amx.md`). One call for some texts,
without Python's lock, so that other threads answer or compute meanwhile.
"""

from __future__ import annotations

import ctypes
import mmap
import platform
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from itertools import repeat
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from models.packing import pack
from models.tile_amx import AMX_UNIT
from models.tile_attention import HEAD, LONGEST, SCRATCH
from models.tile_bytes import BYTE_UNIT
from models.tile_forward import CALL, LAYER, compiled
from models.tile_lanes import LANE_UNIT
from models.tile_products import BLOCK, Sizes, Unit

if TYPE_CHECKING:
    import torch

PART, LEAST_PART = 512, 64  # tokens that a thread takes at a time
CHUNK = 256  # rows whose inner values are kept at a time
NEEDED = ("avx512bf16", "avx512f", "avx512bw", "avx512dq", "avx512vl")
TILES = ("amx-tile", "amx-bf16")
ARCH_PRCTL, REQUEST_PERMISSION, TILE_DATA = 158, 0x1023, 18  # Linux, x86-64: asm/prctl.h


@lru_cache
def unit() -> Unit | None:
    """What this processor multiplies with in bf16, and Linux lets this process use; None: torch."""
    if sys.platform != "linux" or platform.machine() != "x86_64":
        return None
    from llvmlite import binding

    features = binding.get_host_cpu_features()
    if not all(features.get(each) for each in NEEDED):
        return None
    if not all(features.get(each) for each in TILES):
        return LANE_UNIT
    refused: int = ctypes.CDLL(None).syscall(ARCH_PRCTL, REQUEST_PERMISSION, TILE_DATA)
    return LANE_UNIT if refused else AMX_UNIT


@lru_cache
def byte_unit() -> Unit | None:
    """What this processor multiplies with in eight bits; None: nothing of ours."""
    from llvmlite import binding

    has_vnni = unit() is not None and binding.get_host_cpu_features().get("avx512vnni")
    return BYTE_UNIT if has_vnni else None


def bytes_first() -> bool:
    """Whether eight bits are quicker than bf16 here: they are not known to be with AMX."""
    return byte_unit() is not None and unit() is LANE_UNIT


def fits(width: int, inner: int, heads: int, positions: int) -> bool:
    """Whether a trunk of these sizes is one that the code can be written for."""
    return (
        width == heads * HEAD
        and width % BLOCK == 0
        and inner % BLOCK == 0
        and min(width, inner) > BLOCK
        and positions <= LONGEST
    )


class Tiles:
    """Stands for `Forward` where `available` and `fits` say so; any number of threads may ask.

    Args:
        weights: as `forward.fused` gives them.
        word: the table of word embeddings, bf16, which others may share.
        unit: what multiplies.
        threads: how many compute, each some texts.
    """

    def __init__(
        self,
        layers: int,
        heads: int,
        epsilon: float,
        weights: Mapping[str, torch.Tensor],
        word: torch.Tensor,
        unit: Unit,
        threads: int,
    ) -> None:
        def plain(name: str) -> NDArray[np.float32]:
            found: NDArray[np.float32] = weights[name].float().numpy()
            return np.ascontiguousarray(found)

        inner, width = weights["encoder.layer.0.intermediate.dense.weight"].shape
        self._sizes = Sizes(width, inner, heads, epsilon)
        self._layers, self._word, self.unit = layers, word, unit
        self._compiled = compiled(self._sizes, unit)
        self._forward = self._compiled.function("forward", 2)
        kind = plain("embeddings.token_type_embeddings.weight")[0]
        self._always = {
            "position": plain("embeddings.position_embeddings.weight") + kind,
            "gain": plain("embeddings.LayerNorm.weight"),
            "shift": plain("embeddings.LayerNorm.bias"),
            "form": _form(),
        }
        self._most = len(self._always["position"])
        pieces = [
            unit.laid(weights[name]) if weights[name].dim() == 2 else plain(name)
            for name in (
                f"encoder.layer.{layer}.{each}" for layer in range(layers) for each in LAYER
            )
        ]
        self._held, self._table = _together(pieces)
        self._own = threading.local()
        self._threads = threads
        self._pool = _pool(threads) if threads > 1 else None

    @property
    def width(self) -> int:
        """Of a vector."""
        return self._sizes.width

    def vectors(
        self, rows: Sequence[Sequence[int]], of_ids: NDArray[np.float32] | None = None
    ) -> NDArray[np.float32]:
        """Mean of the last hidden states of each text, fp32 [texts, width].

        Args:
            rows: token ids of each text.
            of_ids: weight of each token id in the mean, fp32 [vocabulary]; None: all alike.

        Raises:
            ValueError: a text has no token or too many, or an id that is no word's.
        """
        lengths = [len(row) for row in rows]
        most = min(PART, max(LEAST_PART, sum(lengths) // self._threads))
        parts = pack(lengths, most, padded=False) if self._pool else []
        if self._pool is None or len(parts) < 2:
            return self._vectors(rows, of_ids)
        found = np.empty((len(rows), self._sizes.width), np.float32)
        given = ([rows[index] for index in part] for part in parts)
        done = self._pool.map(self._vectors, given, repeat(of_ids))
        for part, vectors in zip(parts, done, strict=True):
            found[part] = vectors
        return found

    def peak(self) -> float:
        """Operations a second of its largest product alone, on every thread of its own."""
        rows, width, inner = CHUNK, self._sizes.width, self._sizes.inner
        room, product = self._room(rows), self._compiled.function("largest", 9)
        weights, bias = self._table[LAYER.index("intermediate.dense.weight") :][:2].tolist()
        at, to = room["hidden"].ctypes.data, room["inner"].ctypes.data
        form = self._always["form"].ctypes.data
        seconds = []
        for _ in range(20):
            began = time.perf_counter()
            product(at, weights, rows // self.unit.rows, bias, to, 0, 0, 0, form)
            seconds.append(time.perf_counter() - began)
        return self._threads * 2.0 * rows * width * inner / min(seconds)

    def _vectors(
        self, rows: Sequence[Sequence[int]], of_ids: NDArray[np.float32] | None
    ) -> NDArray[np.float32]:
        lengths = np.array([len(row) for row in rows], np.int64)
        if not len(rows) or lengths.min() < 1 or lengths.max() > self._most:
            raise ValueError(f"a text must have 1 to {self._most} tokens")
        ends = np.cumsum(lengths)
        starts, real = ends - lengths, int(ends[-1])
        padded = -(-real // self.unit.rows) * self.unit.rows
        ids, places = np.zeros((2, padded), np.int64)
        ids[:real] = np.concatenate([np.asarray(row, np.int64) for row in rows])
        if ids.min() < 0 or ids.max() >= len(self._word):
            raise ValueError("a token id that is no word's")
        places[:real] = np.arange(real) - np.repeat(starts, lengths)
        shares = np.ones(real, np.float32) if of_ids is None else of_ids[ids[:real]]
        shares = shares / np.repeat(np.add.reduceat(shares, starts), lengths)
        vectors = np.empty((len(rows), self._sizes.width), np.float32)
        arrays: dict[str, NDArray[Any]] = self._always | self._room(padded)
        arrays |= {"ids": ids, "places": places, "starts": starts, "lengths": lengths}
        arrays |= {"shares": np.ascontiguousarray(shares, np.float32), "vectors": vectors}
        told = {name: each.ctypes.data for name, each in arrays.items()}
        told |= {"rows": padded, "texts": len(rows), "layers": self._layers}
        told |= {"real": real, "chunk": CHUNK // self.unit.rows}
        told["word"] = self._word.data_ptr()
        call = np.array([told[name] for name in CALL], np.int64)
        self._forward(call.ctypes.data, self._table.ctypes.data)
        return vectors

    def _room(self, rows: int) -> dict[str, NDArray[Any]]:
        """This thread's memory for so many rows."""
        if getattr(self._own, "rows", 0) < rows:
            width, inner = self._sizes.width, self._sizes.inner
            after = rows + BLOCK  # attention reads and writes some rows too many
            sizes = {"sums": 4 * width, "hidden": 2 * width, "qkv": 6 * width, "mixed": 2 * width}
            room = {name: _pages(after * each) for name, each in sizes.items()}
            room["inner"] = _pages(CHUNK * 2 * inner)
            self._own.room = room | {"scratch": _pages(SCRATCH)}
            self._own.rows = rows
        found: dict[str, NDArray[Any]] = self._own.room
        # Attention looks at the rows after the last text: no number must be left there from others.
        tail = rows * 6 * self._sizes.width
        found["qkv"][tail : tail + BLOCK * 6 * self._sizes.width] = 0
        return found


@lru_cache
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, thread_name_prefix="tiles")


def _pages(size: int) -> NDArray[np.uint8]:
    """Zeros on large pages where Linux has them: a stream of weights then misses no address."""
    held = mmap.mmap(-1, size)
    if hasattr(mmap, "MADV_HUGEPAGE"):
        held.madvise(mmap.MADV_HUGEPAGE)
    return np.frombuffer(held, np.uint8)


def _form() -> NDArray[np.uint8]:
    """Eight tiles of 16 rows of 64 bytes, as `ldtilecfg` reads it."""
    form = np.zeros(64, np.uint8)
    form[0] = 1
    form[16:32].view(np.uint16)[:] = 64
    form[48:56] = 16
    return form


def _together(pieces: Sequence[NDArray[Any]]) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """All in one memory, and the address of each."""
    sizes = np.array([-(-each.nbytes // 64) * 64 for each in pieces])
    places = np.cumsum(sizes) - sizes
    held = _pages(int(sizes.sum()))
    for place, each in zip(places.tolist(), pieces, strict=True):
        held[place : place + each.nbytes] = each.view(np.uint8).ravel()
    return held, places + held.ctypes.data
