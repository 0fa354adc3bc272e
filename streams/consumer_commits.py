"""Acknowledgements and commits by batch: Faust's own books hold offsets one by one."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import faust.transport.drivers.aiokafka as driver


class CommitsBatches(driver.Consumer):
    """Faust's consumer, whose messages stand for batches: `batch_first` to `offset`."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._acked_first: defaultdict[Any, dict[int, int]] = defaultdict(dict)

    async def on_partitions_assigned(self, assigned: Any, generation_id: int = 0) -> None:
        """Begin with empty books.

        The last checkpoint of an earlier assignment was acknowledged after Faust had emptied them.
        Where Kafka did not take that commit, another owner may have begun before it since, and
        what he read is ours again: it must not be committed under the new generation.
        """
        books = (self._acked, self._acked_index, self._acked_first, self._gap)
        for book in (*books, self._committed_offset):
            book.clear()
        await super().on_partitions_assigned(assigned, generation_id)

    def ack(self, message: Any) -> bool:
        """Acknowledge every offset of the batch: Faust's list holds the last, we the first."""
        done: bool = super().ack(message)
        if done:
            first = getattr(message, "batch_first", message.offset)
            self._acked_first[message.tp][message.offset] = first
        return done

    def _new_offset(self, tp: Any) -> int | None:
        # As Faust's, with ranges in the place of offsets one by one.
        acked, firsts = self._acked[tp], self._acked_first[tp]
        if not acked:
            return None
        ranges = [(firsts.get(last, last), last) for last in acked]
        gaps = self._gap[tp]
        ranges += [(gap.begin, gap.end - 1) for gap in gaps.overlap(0, max(acked))]
        end = committable(sorted(ranges), self._committed_offset[tp])
        if end is None:
            return None
        self._acked[tp] = [last for last in acked if last > end]
        self._acked_index[tp] = set(self._acked[tp])
        self._acked_first[tp] = {last: firsts.get(last, last) for last in self._acked[tp]}
        gaps.chop(0, end + 1)
        return end + 1


def committable(ranges: Sequence[tuple[int, int]], committed: int | None) -> int | None:
    """The last offset up to which all is acknowledged; None: nothing new.

    Args:
        ranges: first and last offset each, ascending, not empty.
        committed: the next offset to read after a crash.
    """
    first, end = ranges[0]
    if committed and first - committed > 1:  # 1: Faust's own count of a gap at the start
        return None
    for first, last in ranges[1:]:
        if first > end + 1:
            break
        end = max(end, last)
    return end
