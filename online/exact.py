"""Exact top-K by inner product, of many queries or one: what `bench topk` holds against others.

All scores of a block of items come from one matrix product; a query's block is only looked at
where its best score beats the K-th found so far. No score is left out: recall is 1.
"""

from __future__ import annotations

import numpy as np

from online.arrays import F32, I32
from online.kernels import kernel

BLOCK = 4096  # items; 64 queries' scores of a block are 1 MB
QUERIES = 64
LANE = 64  # scores looked at together


def top_items(items: F32, queries: F32, k: int) -> tuple[I32, F32]:
    """The k items with the greatest inner product, for each query.

    Args:
        items: float32[items, d]; queries: float32[queries, d].

    Returns:
        int32[queries, k] and float32[queries, k], best first, ties in order of items.
    """
    n = len(queries)
    found, best = np.zeros((n, k), np.int32), np.full((n, k), -np.inf, np.float32)
    for start in range(0, n, QUERIES):
        some = slice(start, start + QUERIES)
        for first in range(0, len(items), BLOCK):
            scores = queries[some] @ items[first : first + BLOCK].T
            _merge(scores, first, found[some], best[some])
    return found, best


@kernel()
def _merge(scores: F32, first: int, found: I32, best: F32) -> None:
    k = found.shape[1]
    for q in range(len(scores)):
        row, items, values = scores[q], found[q], best[q]
        for lane in range(0, len(row), LANE):
            end = min(lane + LANE, len(row))
            above = 0
            least = values[k - 1]
            for i in range(lane, end):
                above += row[i] > least
            if above == 0:
                continue
            for i in range(lane, end):
                x = row[i]
                if x > values[k - 1]:
                    at = k - 1
                    while at > 0 and values[at - 1] < x:
                        values[at] = values[at - 1]
                        items[at] = items[at - 1]
                        at -= 1
                    values[at] = x
                    items[at] = first + i
