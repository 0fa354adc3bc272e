"""What a fetch brought, as it was unpacked."""

from __future__ import annotations

from collections import OrderedDict
from functools import partial
from typing import Any

from aiokafka.consumer.fetcher import FetchResult


class Unpacked(OrderedDict[Any, Any]):
    """A fetcher's results, whose records stay as they were unpacked and are taken all at once.

    aiokafka makes a ConsumerRecord of eleven fields of each: a third of what an event costs here.
    """

    def __setitem__(self, tp: Any, result: Any) -> None:
        if type(result) is FetchResult and result.has_more():
            result._partition_records._consumer_record = _as_unpacked
            result.getall = partial(_take_all, result)
        super().__setitem__(tp, result)


def _as_unpacked(_tp: Any, record: Any) -> Any:
    return record


def _take_all(result: Any, _most: int | None = None) -> list[Any]:
    """What was fetched of a partition. Where it is damaged nothing is taken: it comes again."""
    if not result.has_more() or not result.check_assignment(result._topic_partition):
        return []
    fetched = result._partition_records
    result._partition_records = None
    taken = list(fetched._records_iterator)
    result._assignment.state_value(result._topic_partition).consumed_to(fetched.next_fetch_offset)
    return taken
