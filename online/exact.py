"""Exact top-K by inner product: what `bench topk` holds against others.

Many queries: all scores of a block of items come from one matrix product, small enough to stay in
the cache; a query's lane of it is only looked at where a score beats the K-th found so far.

One query reads more than it computes, so it reads the items as bytes first. A byte's error has a
bound: |q·x − s q·x₈| ≤ |q| |x − s x₈| (Cauchy–Schwarz). The items whose bound reaches the K-th best
are scored again from their floats; no other can be in the list. Recall is 1 either way.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from online.arrays import F32, FAST, I8, I32
from online.factors import dot
from online.kernels import kernel

BLOCK = 1024  # items; 256 queries' scores of a block are 1 MB
QUERIES = 256
LANE = 64  # scores looked at together
GROUPS = 4  # blocks in turn: a lane's best in each is a lower bound of as many items
ROUNDING = 1e-5  # of |q| |x|; a sum of 64 float32 products errs by less


class Bytes(NamedTuple):
    """Items in eight bits, by coordinate inside blocks of LANE.

    Attributes:
        values: int8[blocks, d, LANE]; those beyond the last item are zero.
        scale: float32[blocks · LANE], x ≈ scale · values.
        error: float32[blocks · LANE], |x − scale · values| and rounding; −inf beyond the last.
    """

    values: I8
    scale: F32
    error: F32


def in_bytes(items: F32) -> Bytes:
    """Round finite items, float32[items, d]."""
    n, d = items.shape
    blocks = -(-n // LANE)
    rows = np.zeros((blocks * LANE, d), np.float32)
    rows[:n] = items
    scale = np.maximum(np.abs(rows).max(axis=1, initial=0), 1e-30) / 127
    rounded = np.rint(rows / scale[:, None]).astype(np.int8)
    error = np.linalg.norm(rows - scale[:, None] * rounded, axis=1)
    error += ROUNDING * np.linalg.norm(rows, axis=1)
    error[n:] = -np.inf
    values = rounded.reshape(blocks, LANE, d).transpose(0, 2, 1)
    return Bytes(np.ascontiguousarray(values), scale, error)


def top_items_of_one(items: F32, coarse: Bytes, query: F32, k: int) -> tuple[I32, F32]:
    """`top_items` for one query, float32[d]; int32[k] and float32[k]."""
    found, best = np.zeros(k, np.int32), np.full(k, -np.inf, np.float32)
    length = np.float32(np.sqrt(query @ query) * (1 + ROUNDING))
    _one(items, coarse.values, coarse.scale, coarse.error, query, length, found, best)
    return found, best


def top_items(items: F32, queries: F32, k: int) -> tuple[I32, F32]:
    """The k items with the greatest inner product, for each query.

    Args:
        items: float32[items, d]; queries: float32[queries, d].

    Returns:
        int32[queries, k] and float32[queries, k], best first, ties in order of items.
    """
    n = len(queries)
    found, best = np.zeros((n, k), np.int32), np.full((n, k), -np.inf, np.float32)
    room = np.empty(min(n, QUERIES) * BLOCK, np.float32)
    for start in range(0, n, QUERIES):
        some = slice(start, min(start + QUERIES, n))
        for first in range(0, len(items), BLOCK):
            block = items[first : first + BLOCK]
            scores = room[: (some.stop - start) * len(block)].reshape(-1, len(block))
            np.matmul(queries[some], block.T, out=scores)
            _merge(scores, first, found[some], best[some])
    return found, best


@kernel(fastmath=FAST)
def _merge(scores: F32, first: int, found: I32, best: F32) -> None:
    width = scores.shape[1]
    last = found.shape[1] - 1
    for q in range(len(scores)):
        row, items, values = scores[q], found[q], best[q]
        for lane in range(0, width, LANE):
            if not _any_reaches(row, lane, min(lane + LANE, width), values[last]):
                continue
            for i in range(lane, min(lane + LANE, width)):
                if row[i] > values[last]:
                    _insert(items, values, first + i, row[i])


@kernel(fastmath=FAST)
def _any_reaches(row: F32, lane: int, end: int, least: float) -> bool:
    """Whether a score of a lane is at least `least`; unsigned places let it run in vector lanes."""
    above = np.int32(0)
    if end - lane == LANE:
        for i in range(LANE):
            above |= np.int32(row[np.uint64(lane + i)] >= least)
    else:
        for i in range(lane, end):
            above |= np.int32(row[i] >= least)
    return bool(above)


@kernel()
def _insert(items: I32, values: F32, item: int, x: float) -> None:
    at = len(values) - 1
    while at > 0 and values[at - 1] < x:
        values[at] = values[at - 1]
        items[at] = items[at - 1]
        at -= 1
    values[at] = x
    items[at] = item


@kernel(fastmath=FAST)
def _one(
    items: F32, values: I8, scale: F32, error: F32, query: F32, length: float, found: I32,
    best: F32,
) -> None:  # fmt: skip
    blocks = len(values)
    upper = np.empty(blocks * LANE, np.float32)
    lower = np.full(GROUPS * LANE, -np.inf, np.float32)
    for b in range(blocks):
        at = b * LANE
        out, group = upper[at : at + LANE], lower[b % GROUPS * LANE : (b % GROUPS + 1) * LANE]
        _approximate(values[b], query, out)
        for a in range(LANE):
            score, wrong = out[a] * scale[at + a], length * error[at + a]
            out[a] = score + wrong
            x = score - wrong if wrong >= 0 else np.float32(-np.inf)
            group[a] = x if x > group[a] else group[a]
    k = len(best)
    least = np.partition(lower, len(lower) - k)[len(lower) - k] if k <= len(lower) else -np.inf
    _score_again(items, upper, np.float32(least), query, found, best)


@kernel(fastmath=FAST)
def _approximate(block: I8, query: F32, out: F32) -> None:
    """out = query · block; four coordinates at a time, so that `out` is read and written less."""
    d = len(query)
    out[:] = 0
    for f in range(0, d - 3, 4):
        q0, q1, q2, q3 = query[f], query[f + 1], query[f + 2], query[f + 3]
        for a in range(LANE):
            x = q0 * np.float32(block[f, a]) + q1 * np.float32(block[f + 1, a])
            out[a] += x + q2 * np.float32(block[f + 2, a]) + q3 * np.float32(block[f + 3, a])
    for f in range(d - d % 4, d):
        for a in range(LANE):
            out[a] += query[f] * np.float32(block[f, a])


@kernel(fastmath=FAST)
def _score_again(items: F32, upper: F32, least: float, query: F32, found: I32, best: F32) -> None:
    """The best of the items whose upper bound reaches `least`, from their floats."""
    last = len(best) - 1
    for lane in range(0, len(items), LANE):
        end = min(lane + LANE, len(items))
        if not _any_reaches(upper, lane, end, least):
            continue
        for i in range(lane, end):
            if upper[i] >= least:
                x = dot(items[i], query)
                if x > best[last]:
                    _insert(found, best, i, x)
                    least = max(least, best[last])
