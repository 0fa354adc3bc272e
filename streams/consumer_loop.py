"""Faust's consumer in the worker's own loop, and its reading loop without four tasks a message.

Faust runs the aiokafka consumer in a thread with a loop of its own. Both threads need the
interpreter's lock, and the one that asks for it waits until the other one lets go, up to
`sys.getswitchinterval()`, 5 ms, at each of the several steps of a fetch: with a worker at two
thirds of a core that was most of the time between an event's append and its list. A fetch is small
here, so that one loop does it all.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import faust.transport.drivers.aiokafka as driver
from mode.services import Service
from mode.utils.futures import maybe_async


class InLoop(driver.AIOKafkaConsumerThread):
    """The consumer's service; what Faust would send to the thread is called.

    A `ServiceThread` replaces parts of `Service` by such as cross threads; here they are as before.
    """

    wait_for_shutdown = False

    start = Service.start
    stop = Service.stop
    maybe_start = Service.maybe_start
    crash = Service.crash
    set_shutdown = Service.set_shutdown
    _stopped_set = Service._stopped_set
    _stop_children = Service._stop_children
    _stop_futures = Service._stop_futures
    _stop_exit_stacks = Service._stop_exit_stacks

    def __init__(self, consumer: Any, **kwargs: Any) -> None:
        super().__init__(consumer, loop=consumer.loop, thread_loop=consumer.loop, **kwargs)

    async def on_stop(self) -> None:
        """Leave the group."""
        if self._consumer is not None:
            await self._consumer.stop()

    async def call_thread(self, fun: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Call it: there is no thread."""
        return await maybe_async(fun(*args, **kwargs))


async def drain(consumer: Any, fetcher: Any) -> None:
    """Fetch and hand over until one of them stops: Faust's `_drain_messages`, a task a fetch."""
    try:
        while not (consumer.should_stop or fetcher.should_stop):
            messages = [found async for found in consumer.getmany(timeout=1.0)]
            await _unless_suspended(consumer, _hand_over(consumer, messages))
    except (asyncio.CancelledError, *consumer.consumer_stopped_errors):
        if not consumer.transport.app.should_stop:
            raise


async def _hand_over(consumer: Any, messages: list[tuple[Any, Any]]) -> None:
    acks_enabled = consumer.app.topics.acks_enabled_for
    for tp, message in messages:
        read = consumer._read_offset[tp]
        if read is not None and message.offset < read:
            continue
        if read and message.batch_first - read > 1 and acks_enabled(tp.topic):
            await consumer._add_gap(tp, read + 1, message.batch_first - 1)
        await consumer.callback(message)
        consumer._read_offset[tp] = message.offset


async def _unless_suspended(consumer: Any, work: Coroutine[Any, Any, None]) -> None:
    """Do it; where a full agent holds it up, no longer than until the flow is suspended.

    Partitions are then handed out anew, and what was not handed over is fetched again.
    """
    task = asyncio.create_task(work)
    await asyncio.sleep(0)
    if task.done():  # nearly always: nothing to wait for
        return task.result()
    ends = (consumer.suspend_flow, consumer._stopped, consumer._crashed)
    waits = [asyncio.create_task(event.wait()) for event in ends]
    try:
        await asyncio.wait([task, *waits], return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            task.result()
    finally:
        for one in (task, *waits):
            one.cancel()
