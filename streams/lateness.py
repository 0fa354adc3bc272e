"""Which comments are not waited for, where more come than the classifier can read.

A burst is worth waiting for: the better answer comes, a little later. A queue that stands is not:
as many go unread whether comments wait long or not at all, and only lists and alerts get older. The
two are told apart as CoDel does it, by how long the queue stands (Nichols, Jacobson, Controlling
Queue Delay, 2012). Nothing is assumed of the classifier's speed: after a minute all may wait again,
and where they need not, they do not come to be late again.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

HURRY_SECONDS = 60.0
WAIT_SECONDS = 0.2  # meanwhile
SERIES_SECONDS = 5.0  # without a late comment, and the queue was worked off


class Lateness:
    """Decides by the clock of whoever calls (monotonic seconds).

    Args:
        within: a comment that has waited longer is late, seconds; 0: none ever is.
    """

    def __init__(self, within: float) -> None:
        self._within = within
        self._first = self._last = self._hurry_until = -math.inf

    def of(self, waited: Sequence[float], full: bool, now: float) -> list[bool]:
        """Which of a request are late.

        Args:
            waited: of each, seconds; −inf: it may.
            full: whether a request holds no more, so that others wait behind it.
        """
        hurry = now < self._hurry_until
        if not self._within or not (full or hurry):
            return [False] * len(waited)
        patience = min(self._within, WAIT_SECONDS) if hurry else self._within
        late = [each > patience for each in waited]
        if any(late) and not hurry:
            self._stands(now)
        return late

    def _stands(self, now: float) -> None:
        if now > self._last + SERIES_SECONDS:
            self._first = now
        self._last = now
        if now >= self._first + self._within:
            self._hurry_until = now + HURRY_SECONDS
