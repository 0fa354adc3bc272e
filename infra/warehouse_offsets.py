"""Which Kafka offsets of a partition the warehouse has: exact for the newest ones."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

# More than a worker may leave unacknowledged, so that a replay never starts below it.
WINDOW = 200_000


class ArchivedOffsets:
    """Membership of an offset, in constant time and one byte an offset of the window.

    Rows are not written in the order of their offsets (an event is archived when its effect is
    known), so the largest offset alone would call a lower one archived that is not.
    """

    def __init__(self, newest: Sequence[int], window: int = WINDOW) -> None:
        """Args: newest: the `window` largest offsets that are archived; all, if they are fewer."""
        self._known_all = len(newest) < window
        high = max(newest, default=-1)
        # Gaps must not make the window boundless.
        self._first = max(min(newest, default=0), high - 4 * window)
        self._present = bytearray(high - self._first + 1)
        self._elsewhere: set[int] = set()
        self.add(newest)

    def __contains__(self, offset: int) -> bool:
        place = offset - self._first
        if 0 <= place < len(self._present):
            return bool(self._present[place])
        if place < 0 and not self._known_all:
            return True
        return offset in self._elsewhere

    def ends_before(self, offset: int) -> bool:
        """Whether it holds no offset from this one on, for sure."""
        return offset >= self._first + len(self._present) and not self._elsewhere

    def add(self, offsets: Iterable[int]) -> None:
        """Count these as archived."""
        for offset in offsets:
            place = offset - self._first
            if 0 <= place < len(self._present):
                self._present[place] = 1
            elif place >= 0 or self._known_all:
                self._elsewhere.add(offset)
