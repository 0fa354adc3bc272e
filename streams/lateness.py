"""Which comments are not waited for, where more come than the classifier can read.

A burst is worth waiting for: the better answer comes, a little later. A queue that stands is not:
as many go unread whether comments wait long or not at all, and only lists and alerts get older. The
two are told apart as CoDel does it, by how long the queue stands (Nichols, Jacobson, Controlling
Queue Delay, 2012). Nothing is assumed of the classifier's speed: after a minute all may wait as
long as before, and where they need not, it ends there.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

HURRY_SECONDS = 60.0
HURRY_SHARE = 0.1  # of the time that a comment may wait else
LEAST = 8  # comments of a request that are read in any hurry, so that clocks may differ


class Lateness:
    """Decides by the clock of whoever calls (monotonic seconds).

    Args:
        within: a comment that has waited longer is late, seconds; 0: none ever is. Where full
            requests have had such for as long, it is a tenth of it, for a minute.
    """

    def __init__(self, within: float) -> None:
        self._within = within
        self._since: float | None = None  # there have been late comments in every request
        self._hurry_until = -math.inf

    def of(self, waited: Sequence[float], full: bool, now: float) -> list[bool]:
        """Which of a request are late.

        Args:
            waited: of each, seconds; −inf: it may.
            full: whether a request holds no more, so that others wait behind it.
        """
        if not self._within:
            return [False] * len(waited)
        if now < self._hurry_until:
            return self._hurried(waited)
        late = [full and each > self._within for each in waited]
        if not any(late):
            self._since = None
        elif self._since is None:
            self._since = now
        elif now - self._since >= self._within:
            self._hurry_until, self._since = now + HURRY_SECONDS, None
        return late

    def _hurried(self, waited: Sequence[float]) -> list[bool]:
        late = [each > HURRY_SHARE * self._within for each in waited]
        for newest in sorted(range(len(waited)), key=waited.__getitem__)[:LEAST]:
            late[newest] = False
        return late
