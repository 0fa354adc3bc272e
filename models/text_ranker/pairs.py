"""Pairs: what a user had met, and what he took next, in the order of time."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

I64 = npt.NDArray[np.int64]
WINDOW = 20  # items of a history that speak
FADES = 0.8  # from one to the one before


class Pairs(NamedTuple):
    """One for each event of a user who had met something before it.

    Attributes:
        taken: int64[m], item numbers, by user and then by time.
        begin, end: int64[n], taken[begin:end] is what the user had met, the latest last.
        target: int64[n], the item that he took next.
        event: int64[n], the place of that event in the stream, ascending.
    """

    taken: I64
    begin: I64
    end: I64
    target: I64
    event: I64

    def __len__(self) -> int:  # a tuple's own length would be the number of its fields
        return len(self.target)

    def some(self, which: npt.NDArray[np.bool_] | I64) -> Pairs:
        """Those at int64[k], or where bool[n] is true."""
        return Pairs(self.taken, *(each[which] for each in self[1:]))

    def between(self, first: int, last: int) -> Pairs:
        """Those whose event is in [first, last)."""
        return self.some((self.event >= first) & (self.event < last))

    def histories(self, window: int = WINDOW) -> I64:
        """Last items that each user had met, latest first, -1 for none; int64[n, window]."""
        at = self.end[:, None] - 1 - np.arange(window)
        return np.where(at >= self.begin[:, None], self.taken[np.maximum(at, 0)], -1)

    def spoken(self, items: int) -> Any:
        """What each user had met, weighted, a scipy matrix float32[n, items]."""
        from scipy.sparse import csr_matrix

        histories = self.histories()
        there = histories >= 0
        rows = np.broadcast_to(np.arange(len(self))[:, None], histories.shape)[there]
        return csr_matrix((weights(histories)[there], (rows, histories[there])), (len(self), items))


def pairs_of(users: npt.ArrayLike, items: npt.ArrayLike) -> Pairs:
    """The pairs of a stream.

    Args:
        users, items: int[events], numbers from 0, in the order of time; no pair twice.
    """
    who, what = np.asarray(users, np.int64), np.asarray(items, np.int64)
    order = np.argsort(who, kind="stable")
    start = np.searchsorted(who[order], who[order])
    place = np.arange(len(who))
    later = np.flatnonzero(place > start)
    later = later[np.argsort(order[later])]
    return Pairs(what[order], start[later], later, what[order][later], order[later])


def weights(histories: I64) -> npt.NDArray[np.float32]:
    """How much each item of a history speaks: .8^k, 0 for none; float32[n, window]."""
    fading = FADES ** np.arange(histories.shape[1])
    return np.where(histories >= 0, fading, 0).astype(np.float32)
