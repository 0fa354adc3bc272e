"""Lists that are written again: a Redis that we reach anew may lack what the old one was told last.

Replication does not wait for the replica that is promoted, and a file of changes is synced every
second. Lists are made from the learner's state: whoever got one lately simply gets it again.
"""

from __future__ import annotations

import time
from collections import OrderedDict

SECONDS = 10.0  # before the connection was lost: a replica that lags more is not promoted
MOST = 20_000

Who = tuple[str, str, int]  # as `waiting.Key`


class Lately:
    """Who got a list in the last 10 s, at most 20,000, and of which partition."""

    def __init__(self) -> None:
        # Oldest first; a dict would go over all that left it, every time the oldest is asked for.
        self._written: OrderedDict[Who, tuple[float, int]] = OrderedDict()

    def note(self, who: Who, partition: int) -> None:
        """He has his list now."""
        now = time.monotonic()
        self._written[who] = now, partition
        self._written.move_to_end(who)
        while len(self._written) > MOST or self._oldest() < now - SECONDS:
            self._written.popitem(last=False)

    def forget(self, tenant: str, user: str) -> None:
        """He gets none again."""
        for who in [who for who in self._written if who[:2] == (tenant, user)]:
            del self._written[who]

    def take(self) -> list[tuple[Who, int]]:
        """All of them, (who, partition); they are forgotten here."""
        taken = [(who, partition) for who, (_, partition) in self._written.items()]
        self._written.clear()
        return taken

    def _oldest(self) -> float:
        return next(iter(self._written.values()))[0]
