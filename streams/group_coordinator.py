"""aiokafka's group coordinator, mended where it costs a worker its membership (aiokafka 0.14)."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any, NoReturn

from aiokafka.errors import (
    GroupCoordinatorNotAvailableError,
    NotCoordinatorForGroupError,
    RebalanceInProgressError,
    for_code,
)
from aiokafka.protocol.commit import OffsetFetchRequest

COMMIT_SECONDS = 2.0


def mend(coordinator: Any) -> None:
    """Call once, before it has anything to do."""
    _commit_outside_joins(coordinator)
    _read_errors_of_offset_fetch(coordinator)
    coordinator._push_error_to_user = _raise  # it ends with that error


async def end_of(coordinator: Any) -> None:
    """Wait until it ends, or what it needs; aiokafka keeps the reason for somebody who asks.

    Without the task that keeps the metadata it would wait for them for ever, and we on.

    Raises:
        Exception: why it had to.
    """
    metadata = coordinator._client._sync_task
    tasks = [coordinator._coordination_task, metadata]
    done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in done:
        if not task.cancelled():  # the client was closed
            task.result()


def _raise(error: Exception) -> NoReturn:
    raise error


def _commit_outside_joins(coordinator: Any) -> None:
    """No commit is sent while the group is being joined.

    Kafka answers a connection in order, so that such a commit is answered after the join: with an
    illegal generation, upon which aiokafka throws away the membership that it has just won and
    joins again. Where each join takes as long as a commit interval, that goes on and on.
    """
    commit = coordinator._do_commit_offsets

    async def outside(assignment: Any, offsets: Any) -> None:
        # Up to then `on_partitions_revoked` is at work, and what we hold is still ours to commit.
        left = coordinator._performed_join_prepare
        if left and coordinator._subscription.reassignment_in_progress:
            raise RebalanceInProgressError(coordinator.group_id)
        await commit(assignment, offsets)

    coordinator._do_commit_offsets = outside


def _read_errors_of_offset_fetch(coordinator: Any) -> None:
    """A coordinator that is still loading does not say that nothing was ever committed.

    From version 2 on Kafka answers that for the whole request, without topics; aiokafka looks for
    errors in the topics alone. We would go to the beginning of every partition.
    """
    send = coordinator._send_req

    async def read(request: Any) -> Any:
        response = await send(request)
        code: int = getattr(response, "error_code", 0)
        if code and isinstance(request, OffsetFetchRequest):
            error = for_code(code)
            if error in {GroupCoordinatorNotAvailableError, NotCoordinatorForGroupError}:
                coordinator.coordinator_dead()
            raise error(coordinator.group_id)
        return response

    coordinator._send_req = read


async def commit_before_join(consumer: Any) -> None:
    """Commit what the last checkpoint acknowledged; what cannot be is fetched again, and skipped.

    Args:
        consumer: Faust's, whose partitions are being revoked.
    """
    with suppress(TimeoutError):
        await asyncio.wait_for(consumer.force_commit(), COMMIT_SECONDS)
