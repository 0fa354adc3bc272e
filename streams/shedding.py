"""How many comments the classifier is asked for where more come than it can read.

A burst is worth waiting for: the better answer comes, a little later. A queue that stands is not:
as many go unread whether comments wait long or not at all, and only lists and alerts get older.
The two are told apart as CoDel tells a good queue from a bad one, by how long it stands
(Nichols, Jacobson, Controlling Queue Delay, 2012).
"""

from __future__ import annotations

import math
from collections import deque
from statistics import median

STANDING_SECONDS = 0.2  # of reading that wait: more come than can be read, or it is a burst
REQUEST_SECONDS = 0.04  # where more come: how long a request may take, and those behind it wait
LEAST = 4  # comments of a request, however slow it is: else nobody would see it become faster
OVER_SECONDS = 10.0  # without a comment too many, and they may wait again
REQUESTS = 9  # by whose median one is judged: a pause of the machine is no slowness


class Shedding:
    """Decides by the clock of whoever calls (monotonic seconds).

    Args:
        within: seconds for which more may wait than can soon be read; 0: for ever.

    Attributes:
        active: whether what is too many is not asked about.
    """

    def __init__(self, within: float) -> None:
        self._within = within
        self._seconds_each: deque[float] = deque(maxlen=REQUESTS)
        self._answered_at = self._few_at = self._exceeded_at = -math.inf
        self.active = False

    def answered(self, texts: int, seconds: float, now: float) -> None:
        """Tell how long a request took."""
        self._seconds_each.append(seconds / texts)
        self._answered_at = now

    def allowed(self, waiting: int, now: float) -> int:
        """How many of those that wait are to be asked about."""
        fit = self._read_in(REQUEST_SECONDS)
        # Had any waited, they had come soon after the last ones were answered.
        nothing_waited = now - self._answered_at > max(self._within, REQUEST_SECONDS)
        if nothing_waited or waiting <= self._read_in(STANDING_SECONDS):
            self._few_at = now
        if waiting > fit:
            self._exceeded_at = now
        if not self.active:
            self.active = 0 < self._within < now - self._few_at
        elif now - self._exceeded_at > OVER_SECONDS:
            self.active = False
        return min(waiting, fit) if self.active else waiting

    def _read_in(self, seconds: float) -> int:
        return max(LEAST, int(seconds / median(self._seconds_each or [math.inf])))
