"""The queue in front of the device. One task owns it, so there is no lock and no timer.

What gathered while the device was busy is cut into batches of like length by the token budget
(`waiting`), and each batch goes to the device's own thread. Tokenising has a thread of its own and
overlaps with the device. The queue is bounded in texts, counted from before they are tokenised.
The model can be exchanged between two batches: a text is answered by the version that prepared it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TypeVar

import numpy as np
import structlog
from msgspec import Struct
from numpy.typing import NDArray

from models.classifier import Classifier
from models.errors import DeadlineError, DeviceError, told
from models.isolation import answered
from models.metrics import ClassifierMetrics
from models.places import CAPACITY, Held, Places
from models.predictions import UNREADABLE, Prepared
from models.shadow import Shadow
from models.waiting import PLAIN, Answer, Ask, Entry, Result, Task, Waiting, fail

LATE = "the deadline passed before the device was free"

T = TypeVar("T")

log = structlog.get_logger("classifier")


class Answers(Struct, frozen=True):
    """One for each text, all of one version."""

    items: list[Answer]
    model: Classifier


class Vectors(Struct, frozen=True):
    """A unit vector float32[hidden] for each text, all of one trunk."""

    items: list[NDArray[np.float32]]
    model: Classifier


class Batcher:
    """Takes texts from many requests, gives the device full batches, answers each its own.

    Args:
        classifier: used from the device thread and the tokenising thread only.
        device: a pool of one thread, the one that loaded the model.
        capacity: texts that may wait; more are refused.
    """

    def __init__(
        self,
        classifier: Classifier,
        device: ThreadPoolExecutor,
        metrics: ClassifierMetrics,
        capacity: int = CAPACITY,
    ) -> None:
        self._classifier = classifier
        self._device = device
        self._tokeniser = ThreadPoolExecutor(1, thread_name_prefix="tokenise")
        self._metrics = metrics
        self.places = Places(capacity, metrics)
        self._waiting = Waiting()
        self.shadow: Shadow | None = None
        self._arrived = asyncio.Event()
        self._owner: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to answer; needs the running loop."""
        self._owner = asyncio.get_running_loop().create_task(self._own())

    async def broken(self) -> None:
        """Wait for the end of the task that owns the queue: nobody is answered after it.

        Raises:
            Exception: what ended it, a fault of ours.
        """
        if self._owner is not None:
            await asyncio.shield(self._owner)

    async def stop(self) -> None:
        """Take no other batch; every text without an answer is cancelled."""
        if self._owner is not None:
            self._owner.cancel()
            await asyncio.gather(self._owner, return_exceptions=True)
        for entry in self._waiting:
            entry.future.cancel()
        self._tokeniser.shutdown(wait=False, cancel_futures=True)

    def exchange(self, classifier: Classifier) -> None:
        """Texts that come from now on are this version's; earlier ones stay with theirs."""
        self._classifier = classifier

    async def predict(
        self, texts: Sequence[object], ask: Ask = PLAIN, model: Classifier | None = None
    ) -> Answers:
        """One answer for each text, in their order.

        Args:
            model: the version that answers; None: the current one.

        Raises:
            OverloadedError: the queue has no room for them.
            DeadlineError: a text was not on the device in time.
            DeviceError: the device itself failed.
        """
        by = model or self._classifier
        with Held(self.places, len(texts)) as held:
            prepared = await self._prepare(lambda: by.prepare(texts, ask.topics), len(texts), ask)
            futures = {
                index: self._enqueue(Task.PREDICT, by, each, ask, held)
                for index, each in enumerate(prepared)
                if not each.flagged
            }
            found = dict(zip(futures, await _all(list(futures.values())), strict=True))
        self._metrics.flagged.inc(len(texts) - len(futures))
        self._metrics.texts.labels(Task.PREDICT).inc(len(texts))
        nothing = Answer(UNREADABLE)
        answers = [found.get(index, nothing) for index in range(len(texts))]
        items = [each for each in answers if isinstance(each, Answer)]
        if self.shadow is not None:
            self.shadow.offer(texts, items)
            self._arrived.set()
        return Answers(items, by)

    async def embed(self, texts: Sequence[str], ask: Ask = PLAIN) -> Vectors:
        """One unit vector for each text, in their order.

        Raises:
            OverloadedError: the queue has no room for them.
            DeadlineError: a text was not on the device in time.
            DeviceError: the device failed, or the model on one of them.
        """
        model, task = self._classifier, Task.EMBED_ITEMS if ask.items else Task.EMBED
        with Held(self.places, len(texts)) as held:
            step = partial(model.prepare_embedding, texts, ask.tokens)
            prepared = await self._prepare(step, len(texts), ask)
            vectors = await _all(
                [self._enqueue(task, model, Prepared(ids), ask, held) for ids in prepared]
            )
        self._metrics.texts.labels(task).inc(len(texts))
        return Vectors([each for each in vectors if not isinstance(each, Answer)], model)

    async def _prepare(self, step: Callable[[], list[T]], texts: int, ask: Ask) -> list[T]:
        def in_time() -> list[T]:
            if time.perf_counter() > ask.deadline:
                raise DeadlineError(LATE)
            return step()

        started = time.perf_counter()
        loop = asyncio.get_running_loop()
        try:
            prepared = await loop.run_in_executor(self._tokeniser, in_time)
        except asyncio.CancelledError:
            self._metrics.dropped.inc(texts)
            raise
        except DeadlineError:
            self._metrics.expired.inc(texts)
            raise
        self._metrics.prepare_seconds.observe(time.perf_counter() - started)
        return prepared

    def _enqueue(
        self, task: Task, model: Classifier, row: Prepared, ask: Ask, held: Held
    ) -> asyncio.Future[Result]:
        future: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        future.add_done_callback(held.leave)
        now = time.perf_counter()
        self._waiting.put(Entry(task, model, row, future, now, ask.deadline, ask.priority))
        self._arrived.set()
        return future

    async def _own(self) -> None:
        while True:
            await self._arrived.wait()
            self._arrived.clear()
            while batch := self._waiting.next_batch(time.perf_counter()):
                await self._answer(batch)
            if self.shadow is not None and not self.shadow.idle:
                await self._run_shadow(self.shadow)
                self._arrived.set()

    async def _run_shadow(self, shadow: Shadow) -> None:
        loop, taken = asyncio.get_running_loop(), shadow.take()
        try:
            await loop.run_in_executor(self._device, shadow.score, taken)
        except Exception as error:  # whatever it is, a shadow harms nobody
            self._metrics.shadowed.labels("failed").inc(len(taken))
            log.warning("classifier.shadow_failed", error=told(error))

    async def _answer(self, entries: list[Entry]) -> None:
        live = self._still_wanted(entries)
        if not live:
            return
        started = time.perf_counter()
        for entry in live:
            self._metrics.wait_seconds.observe(started - entry.queued_at)
        model, rows = live[0].model, [entry.row for entry in live]
        loop = asyncio.get_running_loop()
        try:
            answers = await loop.run_in_executor(self._device, answered, live[0].task, model, rows)
            self._measure(live[0].task, model, rows, time.perf_counter() - started)
        except asyncio.CancelledError:
            for entry in live:
                entry.future.cancel()
            raise
        except Exception as error:  # whatever it is, the owner of the queue lives on
            log.warning("classifier.device_failed", error=told(error))
            fail(live, DeviceError(type(error).__name__))
            return
        for entry, answer in zip(live, answers, strict=True):
            self._hand_over(entry, answer)

    def _hand_over(self, entry: Entry, answer: Result | Exception) -> None:
        if isinstance(answer, Exception):
            self._metrics.item_errors.inc()
            log.warning("classifier.text_failed", task=entry.task, error=told(answer))
            if entry.task is not Task.PREDICT:
                fail([entry], DeviceError(type(answer).__name__))
                return
            reason = f"the model failed on this text ({type(answer).__name__})"
            answer = Answer(UNREADABLE, reason)
        if not entry.future.done():
            entry.future.set_result(answer)

    def _still_wanted(self, entries: list[Entry]) -> list[Entry]:
        live = [entry for entry in entries if not entry.future.done()]
        self._metrics.dropped.inc(len(entries) - len(live))
        now = time.perf_counter()
        late = [entry for entry in live if entry.deadline < now]
        self._metrics.expired.inc(len(late))
        fail(late, DeadlineError(LATE))
        return [entry for entry in live if entry.deadline >= now]

    def _measure(self, task: Task, model: Classifier, rows: list[Prepared], seconds: float) -> None:
        lengths = [len(row.ids) for row in rows]
        self._metrics.batch(lengths, model.packed, seconds)
        self._metrics.flops.inc(model.operations(lengths, of_trunk=task is not Task.PREDICT))
        self.places.rate += 0.1 * (len(rows) / max(seconds, 1e-6) - self.places.rate)


async def _all(futures: Sequence[asyncio.Future[T]]) -> list[T]:
    """All results; a caller that goes away, or a failure, takes the other futures along."""
    try:
        return list(await asyncio.gather(*futures))
    finally:
        for future in futures:
            future.cancel()
