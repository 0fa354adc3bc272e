"""Top-K: the best candidates of a score vector."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from online.arrays import F32, I32
from online.blend import MASKED
from online.kernels import kernel


class TopK(NamedTuple):
    """A list.

    Attributes:
        items: item ids, best first, at most K.
        scores: float32[len(items)], descending; natural logarithms up to a constant of the user.
        policy: what made the list: "blend", "interests", "popular" or "similar".
        near: (place, item of the user's) of what is listed for what it says, in order.
    """

    items: list[str]
    scores: F32
    policy: str
    near: Sequence[tuple[int, str]] = ()


def no_items(policy: str) -> TopK:
    """An empty list."""
    return TopK([], np.zeros(0, np.float32), policy)


@kernel()
def select(n: int, scores: F32, items: I32, best: F32) -> int:
    """The len(items) highest finite scores above MASKED, descending; ties in order of slots.

    Args:
        items: int32[K], filled with slots; best: float32[K], filled with scores.

    Returns:
        Items selected, at most K.
    """
    k, count = len(items), 0
    for i in range(n):
        x = scores[i]
        if not x > MASKED or x == np.inf or (count == k and x <= best[k - 1]):
            continue
        at = count if count < k else k - 1
        while at > 0 and best[at - 1] < x:
            best[at] = best[at - 1]
            items[at] = items[at - 1]
            at -= 1
        best[at] = x
        items[at] = i
        count = min(count + 1, k)
    return count
