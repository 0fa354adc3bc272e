"""The queue in front of the device. One task owns it, so there is no lock and no timer.

A round is what gathered while the device was busy: it is sorted by length, cut into batches by the
token budget (padding counted), and each batch goes to the device's own thread. The next round
begins when this one is answered, so nobody starves. Tokenising has a thread of its own and overlaps
with the device. The queue is bounded in texts, counted from before they are tokenised.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeVar

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from models.classifier import UNREADABLE, Classifier, Prediction, Prepared
from models.errors import OverloadedError
from models.metrics import ClassifierMetrics
from models.packing import pack

CAPACITY = 4_096  # texts: about ten seconds of one core
FIRST_RATE = 400.0  # texts a second, until measured
LONGEST_RETRY_SECONDS = 30

T = TypeVar("T")
U = TypeVar("U")


class Task(StrEnum):
    """What is asked of the device."""

    PREDICT = "predict"
    EMBED = "embed"


class Answer(Struct, frozen=True):
    """A prediction, and why it says nothing (empty where it does)."""

    prediction: Prediction
    error: str = ""


@dataclass(eq=False)
class Entry:
    """A tokenised text that waits. The future gets an `Answer` or a vector."""

    task: Task
    row: Prepared
    future: asyncio.Future[Answer | NDArray[np.float32]]
    queued_at: float


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
        self.capacity = capacity
        self.taken = 0
        self._rate = FIRST_RATE
        self._waiting: list[Entry] = []
        self._round: list[Entry] = []
        self._arrived = asyncio.Event()
        self._owner: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to answer; needs the running loop."""
        self._owner = asyncio.get_running_loop().create_task(self._own())

    async def stop(self) -> None:
        """Let the batch on the device finish; every text without an answer is cancelled."""
        if self._owner is not None:
            self._owner.cancel()
            await asyncio.gather(self._owner, return_exceptions=True)
        for entry in (*self._round, *self._waiting):
            entry.future.cancel()
        self._tokeniser.shutdown(wait=False, cancel_futures=True)

    async def predict(self, texts: Sequence[object]) -> list[Answer]:
        """One answer for each text, in their order.

        Raises:
            OverloadedError: the queue has no room for them.
            RuntimeError, ArithmeticError: the device itself failed.
        """
        with _Room(self, len(texts)):
            prepared = await self._prepare(self._classifier.prepare, texts)
            futures = {
                index: self._enqueue(Task.PREDICT, each)
                for index, each in enumerate(prepared)
                if not each.flagged
            }
            found = dict(zip(futures, await _all(list(futures.values())), strict=True))
        self._metrics.flagged.inc(len(texts) - len(futures))
        self._metrics.texts.labels(Task.PREDICT).inc(len(texts))
        nothing = Answer(UNREADABLE)
        answers = [found.get(index, nothing) for index in range(len(texts))]
        return [each for each in answers if isinstance(each, Answer)]

    async def embed(self, texts: Sequence[str]) -> list[NDArray[np.float32]]:
        """One unit vector for each text, in their order.

        Raises:
            OverloadedError: the queue has no room for them.
            RuntimeError, ArithmeticError: the device itself failed.
        """
        with _Room(self, len(texts)):
            prepared = await self._prepare(self._classifier.prepare_embedding, texts)
            vectors = await _all([self._enqueue(Task.EMBED, Prepared(ids)) for ids in prepared])
        self._metrics.texts.labels(Task.EMBED).inc(len(texts))
        return [each for each in vectors if not isinstance(each, Answer)]

    def admit(self, texts: int) -> None:
        """Take `texts` places.

        Raises:
            OverloadedError: there are not so many.
        """
        if self.taken + texts > self.capacity:
            self._metrics.refused.inc(texts)
            wait = math.ceil(self.taken / self._rate)
            raise OverloadedError(
                f"{self.taken} texts are waiting and {self.capacity} may: ask again later",
                min(max(wait, 1), LONGEST_RETRY_SECONDS),
            )
        self.taken += texts
        self._metrics.queued.set(self.taken)

    def release(self, texts: int) -> None:
        """Give `texts` places back."""
        self.taken -= texts
        self._metrics.queued.set(self.taken)

    async def _prepare(self, step: Callable[[Sequence[T]], list[U]], texts: Sequence[T]) -> list[U]:
        started = time.perf_counter()
        loop = asyncio.get_running_loop()
        try:
            prepared = await loop.run_in_executor(self._tokeniser, step, texts)
        except asyncio.CancelledError:
            self._metrics.dropped.inc(len(texts))
            raise
        self._metrics.prepare_seconds.observe(time.perf_counter() - started)
        return prepared

    def _enqueue(self, task: Task, row: Prepared) -> asyncio.Future[Answer | NDArray[np.float32]]:
        future: asyncio.Future[Answer | NDArray[np.float32]] = (
            asyncio.get_running_loop().create_future()
        )
        self._waiting.append(Entry(task, row, future, time.perf_counter()))
        self._arrived.set()
        return future

    async def _own(self) -> None:
        while True:
            await self._arrived.wait()
            self._arrived.clear()
            self._round, self._waiting = self._waiting, []
            for task in Task:
                entries = [entry for entry in self._round if entry.task is task]
                for batch in pack([len(each.row.ids) for each in entries], self._classifier.budget):
                    await self._answer(task, [entries[index] for index in batch])

    async def _answer(self, task: Task, entries: list[Entry]) -> None:
        live = [entry for entry in entries if not entry.future.done()]
        self._metrics.dropped.inc(len(entries) - len(live))
        if not live:
            return
        started = time.perf_counter()
        for entry in live:
            self._metrics.wait_seconds.observe(started - entry.queued_at)
        rows = [entry.row for entry in live]
        loop = asyncio.get_running_loop()
        try:
            answers = await loop.run_in_executor(self._device, self._on_device, task, rows)
        except Exception as error:  # whatever it is, the owner of the queue lives on
            _fail(live, error)
            return
        self._measure(rows, time.perf_counter() - started)
        for entry, answer in zip(live, answers, strict=True):
            if not entry.future.done():
                entry.future.set_result(answer)

    def _on_device(
        self, task: Task, rows: list[Prepared]
    ) -> Sequence[Answer | NDArray[np.float32]]:
        if task is Task.EMBED:
            return list(self._classifier.embed([row.ids for row in rows]))
        try:
            return [Answer(each) for each in self._classifier.score(rows)]
        except (RuntimeError, ArithmeticError):
            # A text that the model fails on must not harm its neighbours; a broken device must not
            # pass for a bad text.
            if not self._classifier.works():
                raise
            return [self._alone(row) for row in rows]

    def _alone(self, row: Prepared) -> Answer:
        try:
            return Answer(self._classifier.score([row])[0])
        except (RuntimeError, ArithmeticError) as error:
            self._metrics.item_errors.inc()
            return Answer(UNREADABLE, f"the model failed on this text ({type(error).__name__})")

    def _measure(self, rows: list[Prepared], seconds: float) -> None:
        self._metrics.device_seconds.observe(seconds)
        self._metrics.batch_rows.observe(len(rows))
        lengths = [len(row.ids) for row in rows]
        self._metrics.batch_fill.observe(sum(lengths) / (len(rows) * max(lengths)))
        self._rate += 0.1 * (len(rows) / max(seconds, 1e-6) - self._rate)


class _Room:
    """Places in the queue, given back whatever happens."""

    def __init__(self, batcher: Batcher, texts: int) -> None:
        self._batcher, self._texts = batcher, texts

    def __enter__(self) -> None:
        self._batcher.admit(self._texts)

    def __exit__(self, *_: object) -> None:
        self._batcher.release(self._texts)


async def _all(futures: Sequence[asyncio.Future[T]]) -> list[T]:
    """All results; a caller that goes away, or a failure, takes the other futures along."""
    try:
        return list(await asyncio.gather(*futures))
    finally:
        for future in futures:
            future.cancel()


def _fail(entries: Sequence[Entry], error: Exception) -> None:
    for entry in entries:
        if not entry.future.done():
            entry.future.set_exception(error)
