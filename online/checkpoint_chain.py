"""Chain: the growing checkpoint of one partition: what it was, and what changed since.

A checkpoint writes what changed, which does not depend on how much there is. Files of similar size
are merged from time to time, so that a reader finds few of them: sizes then fall from the oldest to
the newest, and a byte is written again as often as the logarithm of the whole.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from online.checkpoint import CheckpointStore

AT_ONCE = 8  # files of similar size that are merged into one


class _Link(NamedTuple):
    first: int
    last: int
    bytes: int


class Chain:
    """The files of one partition under one epoch. Not for two threads at a time.

    Attributes:
        erase: a user was taken out who must not stay in older files.
    """

    def __init__(self, store: CheckpointStore, name: str, epoch: int) -> None:
        self._store = store
        self._name = name
        self._epoch = epoch
        self._links: list[_Link] = []
        self.erase = False  # `merge_whole` is due
        self._logs: dict[str, np.ndarray[Any, Any]] = {}

    def append(self, arrays: Mapping[str, np.ndarray[Any, Any]], header: str) -> int:
        """Write the next change; the first one is the whole, after which former owners' files go.

        Arrays without a "/" in their name are logs, given whole: only what is new is written.

        Returns:
            Bytes written.
        """
        number = self._links[-1].last + 1 if self._links else 0
        logs = {name: array for name, array in arrays.items() if "/" not in name}
        new = {name: _since(self._logs.get(name), array) for name, array in logs.items()}
        size = self._store.write_change(
            self._name, self._epoch, (number, number), {**arrays, **new}, header
        )
        self._logs = logs
        self._links.append(_Link(number, number, size))
        if number == 0:
            self._store.delete_before(self._name, self._epoch)
        return size

    def merge(self) -> int:
        """Merge the newest files where enough of similar size have gathered; bytes written."""
        links, begin = self._links, len(self._links) - 1
        while begin > 0 and links[begin - 1].bytes <= 2 * sum(one.bytes for one in links[begin:]):
            begin -= 1
        if len(links) - begin < AT_ONCE:
            return 0
        return self._merge_from(begin)

    def merge_whole(self) -> int:
        """Merge all files into one, so that none holds what was taken out since; bytes written.

        What a former owner wrote after he was one goes, too.
        """
        self.erase = False
        size = self._merge_from(0) if len(self._links) > 1 else 0
        self._store.delete_before(self._name, self._epoch)
        return size

    def _merge_from(self, begin: int) -> int:
        links = self._links
        numbers = links[begin].first, links[-1].last
        found = self._store.read_change(self._name, self._epoch, numbers)
        size = self._store.write_change(
            self._name, self._epoch, numbers, found.arrays, found.header
        )
        self._store.delete_within(self._name, self._epoch, numbers)
        self._links = [*links[:begin], _Link(*numbers, size)]
        return size


def _since(before: np.ndarray[Any, Any] | None, now: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """What follows the last entry of `before`; all where that is gone."""
    if before is None or not len(before):
        return now
    at = np.flatnonzero(now == before[-1])
    return now[at[-1] + 1 :] if len(at) else now
