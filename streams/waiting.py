"""waiting: users who wait for a list, in a line."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from typing import NamedTuple

Key = tuple[str, str, int]  # tenant, user, and which of his lists: 0 where they coalesce
NOWHERE = -1  # no partition: nobody makes a list for who waits there


class Touched(NamedTuple):
    """Who waits for a list: of which partition, and when his last event was appended (0: none)."""

    partition: int
    received_ms: int


class Line:
    """In the order in which they were touched; who is touched again before his turn waits once.

    Attributes:
        joined: how many were ever put in; done: how many of the first of them have left for good.
    """

    def __init__(self) -> None:
        self._users: dict[Key, Touched] = {}
        self.joined = 0
        self.done = 0

    def __len__(self) -> int:
        return len(self._users)

    def __contains__(self, who: object) -> bool:
        return who in self._users

    def add(self, users: Iterable[tuple[Key, Touched]]) -> None:
        """Let them wait; of one who comes again the later word counts."""
        before = len(self._users)
        self._users.update(users)
        self.joined += len(self._users) - before

    def forget(self, tenant: str, user: str) -> None:
        """He keeps his place, and gets nothing there; unless he is touched again."""
        for key in [key for key in self._users if key[:2] == (tenant, user)]:
            self._users[key] = Touched(NOWHERE, 0)

    def take(self, most: int) -> list[tuple[Key, Touched]]:
        """The first in line, who are in it no longer; they are done when the taker says so."""
        keys = list(islice(self._users, most))
        return [(key, self._users.pop(key)) for key in keys]
