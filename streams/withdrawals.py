"""withdrawals: the items that are gone, or not available, of which nothing else is remembered.

After a restart a tombstone may be all that is left of an item that users still have. Tombstones
stay for years and come oldest first, so of too many the oldest are forgotten.
"""

from __future__ import annotations

from collections import OrderedDict

from infra.telemetry import get_logger

PER_ITEM = 5  # withdrawals for each item that is remembered; some 300 bytes each

log = get_logger("withdrawals")


class Withdrawals:
    """A set of (tenant, item id) with an end to its size; the first loss is logged.

    Args:
        max_items: how many items are remembered beside it.
    """

    def __init__(self, max_items: int) -> None:
        self._most = PER_ITEM * max_items
        self._keys: OrderedDict[tuple[str, str], None] = OrderedDict()
        self._lost = False

    def __contains__(self, key: tuple[str, str]) -> bool:
        return key in self._keys

    def discard(self, key: tuple[str, str]) -> None:
        """The item is back, or described."""
        self._keys.pop(key, None)

    def add(self, key: tuple[str, str]) -> None:
        """As the newest."""
        self._keys[key] = None
        self._keys.move_to_end(key)
        if len(self._keys) > self._most:
            self._keys.popitem(last=False)
            if not self._lost:
                self._lost = True
                log.warning("withdrawals.forgotten", remembered=self._most)
