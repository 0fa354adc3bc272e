"""Items of a stream to be evaluated on: what they say, told when they are published."""

from __future__ import annotations

import numpy as np

from online.arrays import I64
from online.content_items import ItemContent
from online.learner import Learner
from online.prequential_stream import Stream

AT_ONCE = 256  # told in one call


class Publisher:
    """Tells a learner of items in time.

    Args:
        stream: whose items are published.
        items: what they say; the stream may know fewer, or others.
        at_start: all are published before the stream begins, not each with its first event.
    """

    def __init__(self, stream: Stream, items: ItemContent, at_start: bool) -> None:
        self._items = items
        self._at_start = at_start
        number = {item: at for at, item in enumerate(items.ids)}
        there = np.array([number.get(item, -1) for item in stream.item_ids], np.int64)
        # The stream's items are numbered as they first come: each is a step of the maximum.
        newest = np.maximum.accumulate(stream.items) if len(stream) else stream.items
        self._first = np.searchsorted(newest, np.arange(len(stream.item_ids)))
        self._order: I64 = np.arange(len(items.ids)) if at_start else there
        self._told = 0

    def tell(self, learner: Learner, end: int) -> None:
        """Tell of all items published before the event `end`."""
        upto = len(self._order) if self._at_start else int(np.searchsorted(self._first, end))
        some = self._order[self._told : upto]
        self._told = upto
        some = some[some >= 0]
        for at in range(0, len(some), AT_ONCE):
            learner.put_content(self._items.some(some[at : at + AT_ONCE]), listed=self._at_start)
