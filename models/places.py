"""Places in the queue in front of the device: so many texts may wait, and more are refused."""

from __future__ import annotations

import math

from models.errors import OverloadedError
from models.metrics import ClassifierMetrics

CAPACITY = 4_096  # texts: ten seconds of one core
FIRST_RATE = 400.0  # texts a second, until measured
LONGEST_RETRY_SECONDS = 30


class Places:
    """So many, and how many are taken.

    Attributes:
        rate: texts a second that the device answers; decides when a refused one may ask again.
    """

    def __init__(self, capacity: int, metrics: ClassifierMetrics) -> None:
        self.capacity, self.taken, self.rate = capacity, 0, FIRST_RATE
        self._metrics = metrics

    def take(self, texts: int) -> None:
        """Take `texts` of them.

        Raises:
            OverloadedError: there are not so many.
        """
        if self.taken + texts > self.capacity:
            self._metrics.refused.inc(texts)
            wait = math.ceil(self.taken / self.rate)
            raise OverloadedError(
                f"{self.taken} texts are waiting and {self.capacity} may: ask again later",
                min(max(wait, 1), LONGEST_RETRY_SECONDS),
            )
        self.taken += texts
        self._metrics.queued.set(self.taken)

    def give_back(self, texts: int) -> None:
        """They are free."""
        self.taken -= texts
        self._metrics.queued.set(self.taken)


class Held:
    """A request's places: each is free once its text is answered, the rest whatever happens."""

    def __init__(self, places: Places, texts: int) -> None:
        self._places, self._texts = places, texts

    def __enter__(self) -> Held:
        self._places.take(self._texts)
        return self

    def leave(self, _answered: object) -> None:
        """One text has its answer."""
        if self._texts:
            self._texts -= 1
            self._places.give_back(1)

    def __exit__(self, *_: object) -> None:
        self._places.give_back(self._texts)
        self._texts = 0
