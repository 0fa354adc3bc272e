"""Inserts under way at the gateway: chDB hears of one only when all its rows are here."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager


class Inserts:
    """Those of all clients, so that one can kill another's; thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: list[_Insert] = []

    @contextmanager
    def open(self, query_id: str) -> Iterator[_Insert]:
        """One that has been asked for."""
        mine = _Insert(query_id, self._lock)
        with self._lock:
            self._open.append(mine)
        try:
            yield mine
        finally:
            with self._lock:
                self._open.remove(mine)
            mine.ended.set()

    def kill(self, chosen: Callable[[Sequence[str]], set[str]]) -> None:
        """Let none of the chosen query ids begin any more; wait for those that have."""
        with self._lock:
            known = list(self._open)
        wanted = chosen([each.query_id for each in known]) if known else set()
        begun = []
        with self._lock:
            for each in known:
                if each.query_id in wanted:
                    each.killed = True
                    begun += [each] if each.begun else []
        for each in begun:
            each.ended.wait()


class _Insert:
    def __init__(self, query_id: str, lock: threading.Lock) -> None:
        self.query_id = query_id
        self.killed = self.begun = False
        self.ended = threading.Event()
        self._lock = lock

    def begin(self) -> bool:
        """Whether it may go on, now that its rows are here."""
        with self._lock:
            self.begun = not self.killed
            return self.begun
