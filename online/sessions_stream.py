"""A stream of sessions in periods: what the ADER protocol evaluates on (Mi, Lin, Faltings 2020).

A file of that shape names a period, a session and an item in every row, and perhaps a day. Its
order is the order of the days at most: inside a day it is not time, because all sessions of a day
may start together.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from online.arrays import I32, I64
from online.kernels import kernel


class SessionStream(NamedTuple):
    """Visits in the file's order.

    Attributes:
        item_ids: the ids by number.
        sessions, items: int32[n], numbers in order of first appearance.
        periods, days: int64[n], never descending.
        start: int64[sessions + 1], where a session begins in arrays that hold sessions in a row.
        position: int32[n], the visit's place in its session.
    """

    item_ids: list[str]
    sessions: I32
    items: I32
    periods: I64
    days: I64
    start: I64
    position: I32

    def __len__(self) -> int:  # a tuple's own length would be the number of its fields
        return len(self.sessions)


class SessionStreamBuilder:
    """Takes visits one by one."""

    def __init__(self) -> None:
        self._sessions: dict[str, int] = {}
        self._items: dict[str, int] = {}
        self._visits: list[tuple[int, int, int, int]] = []

    def add(self, period: int, session: str, item: str, day: int = 0) -> None:
        """Take one visit, in the file's order.

        Raises:
            ValueError: the period, or the day inside it, goes back.
        """
        last = self._visits[-1] if self._visits else (0, 0, period, day)
        if (period, day) < last[2:]:
            raise ValueError(
                f"period {period}, day {day} comes after period {last[2]}, day {last[3]}"
            )
        session_number = self._sessions.setdefault(session, len(self._sessions))
        item_number = self._items.setdefault(item, len(self._items))
        self._visits.append((session_number, item_number, period, day))

    def build(self) -> SessionStream:
        """The stream of all that was taken."""
        visits = np.array(self._visits, np.int64).reshape(-1, 4)
        sessions = visits[:, 0].astype(np.int32)
        each = np.bincount(sessions, minlength=len(self._sessions))
        start = np.concatenate([[0], np.cumsum(each)]).astype(np.int64)
        order = np.argsort(sessions, kind="stable")
        position = np.empty(len(sessions), np.int32)
        position[order] = np.arange(len(sessions)) - np.repeat(start[:-1], each)
        items = visits[:, 1].astype(np.int32)
        periods, days = visits[:, 2].copy(), visits[:, 3].copy()
        return SessionStream(list(self._items), sessions, items, periods, days, start, position)


class Prefixes(NamedTuple):
    """What precedes every visit in its session, of the items that were seen in earlier periods.

    Attributes:
        counted: bool[n], the item was seen before its period (the first period: any).
        items: int32[n], the counted items, session by session at `SessionStream.start`.
        length: int32[n], counted visits of the session before this one.
    """

    counted: npt.NDArray[np.bool_]
    items: I32
    length: I32


def find_prefixes(stream: SessionStream) -> Prefixes:
    """Drop the items that were not seen in earlier periods, as the protocol has it."""
    n = len(stream)
    found = Prefixes(np.zeros(n, np.bool_), np.zeros(n, np.int32), np.zeros(n, np.int32))
    taken = np.zeros(len(stream.start) - 1, np.int32)
    first_period = np.full(len(stream.item_ids), -1, np.int64)
    order = np.unique(stream.periods, return_inverse=True)[1].astype(np.int64)
    _find(stream.sessions, stream.items, order, stream.start, first_period, taken, found)
    return found


@kernel()
def _find(
    sessions: I32, items: I32, periods: I64, start: I64, first: I64, taken: I32, found: Prefixes
) -> None:
    for e in range(len(sessions)):
        s, i = sessions[e], items[e]
        if first[i] < 0:
            first[i] = periods[e]
        found.length[e] = taken[s]
        if periods[e] == 0 or first[i] < periods[e]:
            found.counted[e] = True
            found.items[start[s] + taken[s]] = i
            taken[s] += 1
