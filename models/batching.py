"""The queue in front of the device. One task owns it, so there is no lock and no timer.

What gathered while the device was busy is cut into batches of like length by the token budget
(`waiting`), and each batch goes to the device's own thread. Tokenising has a thread of its own and
overlaps with the device. The queue is bounded in texts, counted from before they are tokenised.
The model can be exchanged between two batches: a text is answered by the version that prepared it.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TypeVar

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from models.classifier import EMBEDDING_TOKENS, Classifier
from models.errors import DeadlineError, OverloadedError
from models.metrics import ClassifierMetrics
from models.predictions import UNREADABLE, Prepared
from models.shadow import Shadow
from models.waiting import Answer, Entry, Priority, Result, Task, Waiting

CAPACITY = 4_096  # texts: ten seconds of one core
FIRST_RATE = 400.0  # texts a second, until measured
LONGEST_RETRY_SECONDS = 30

T = TypeVar("T")


class Ask(Struct, frozen=True):
    """A deadline on `time.perf_counter`, topic heads, `tokens` to embed, `items`: by the ranker."""

    priority: Priority = Priority.NORMAL
    deadline: float = float("inf")
    topics: bool = False
    tokens: int = EMBEDDING_TOKENS
    items: bool = False


PLAIN = Ask()


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
        self.capacity = capacity
        self.taken = 0
        self._rate = FIRST_RATE
        self._waiting = Waiting()
        self.shadow: Shadow | None = None
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
        for entry in self._waiting:
            entry.future.cancel()
        self._tokeniser.shutdown(wait=False, cancel_futures=True)

    def exchange(self, classifier: Classifier) -> None:
        """Texts that come from now on are this version's; earlier ones stay with theirs."""
        self._classifier = classifier

    async def predict(self, texts: Sequence[object], ask: Ask = PLAIN) -> Answers:
        """One answer for each text, in their order.

        Raises:
            OverloadedError: the queue has no room for them.
            DeadlineError: a text was not on the device in time.
            RuntimeError, ArithmeticError: the device itself failed.
        """
        model = self._classifier
        with _Room(self, len(texts)):
            prepared = await self._prepare(lambda: model.prepare(texts, ask.topics), len(texts))
            futures = {
                index: self._enqueue(Task.PREDICT, model, each, ask)
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
        return Answers(items, model)

    async def embed(self, texts: Sequence[str], ask: Ask = PLAIN) -> Vectors:
        """One unit vector for each text, in their order.

        Raises:
            OverloadedError: the queue has no room for them.
            DeadlineError: a text was not on the device in time.
            RuntimeError, ArithmeticError: the device itself failed.
        """
        model, task = self._classifier, Task.EMBED_ITEMS if ask.items else Task.EMBED
        with _Room(self, len(texts)):
            step = partial(model.prepare_embedding, texts, ask.tokens)
            prepared = await self._prepare(step, len(texts))
            vectors = await _all(
                [self._enqueue(task, model, Prepared(ids), ask) for ids in prepared]
            )
        self._metrics.texts.labels(task).inc(len(texts))
        return Vectors([each for each in vectors if not isinstance(each, Answer)], model)

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

    async def _prepare(self, step: Callable[[], list[T]], texts: int) -> list[T]:
        started = time.perf_counter()
        loop = asyncio.get_running_loop()
        try:
            prepared = await loop.run_in_executor(self._tokeniser, step)
        except asyncio.CancelledError:
            self._metrics.dropped.inc(texts)
            raise
        self._metrics.prepare_seconds.observe(time.perf_counter() - started)
        return prepared

    def _enqueue(
        self, task: Task, model: Classifier, row: Prepared, ask: Ask
    ) -> asyncio.Future[Result]:
        future: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
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
        loop = asyncio.get_running_loop()
        try:
            await loop.run_in_executor(self._device, shadow.score, shadow.take())
        except (RuntimeError, ArithmeticError):
            self._metrics.shadowed.labels("failed").inc()

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
            answers = await loop.run_in_executor(
                self._device, self._on_device, live[0].task, model, rows
            )
        except Exception as error:  # whatever it is, the owner of the queue lives on
            _fail(live, error)
            return
        self._measure(model, rows, time.perf_counter() - started)
        for entry, answer in zip(live, answers, strict=True):
            if not entry.future.done():
                entry.future.set_result(answer)

    def _still_wanted(self, entries: list[Entry]) -> list[Entry]:
        live = [entry for entry in entries if not entry.future.done()]
        self._metrics.dropped.inc(len(entries) - len(live))
        now = time.perf_counter()
        late = [entry for entry in live if entry.deadline < now]
        self._metrics.expired.inc(len(late))
        _fail(late, DeadlineError("the deadline passed before the device was free"))
        return [entry for entry in live if entry.deadline >= now]

    def _on_device(self, task: Task, model: Classifier, rows: list[Prepared]) -> Sequence[Result]:
        if task is not Task.PREDICT:
            embed = model.embed if task is Task.EMBED else model.embed_items
            return list(embed([row.ids for row in rows]))
        try:
            return [Answer(each) for each in model.score(rows)]
        except (RuntimeError, ArithmeticError):
            # A text that the model fails on must not harm its neighbours; a broken device must not
            # pass for a bad text.
            if not model.works():
                raise
            return [self._alone(model, row) for row in rows]

    def _alone(self, model: Classifier, row: Prepared) -> Answer:
        try:
            return Answer(model.score([row])[0])
        except (RuntimeError, ArithmeticError) as error:
            self._metrics.item_errors.inc()
            return Answer(UNREADABLE, f"the model failed on this text ({type(error).__name__})")

    def _measure(self, model: Classifier, rows: list[Prepared], seconds: float) -> None:
        lengths = [len(row.ids) for row in rows]
        real = sum(lengths)
        taken = real if model.packed else len(rows) * max(lengths)
        self._metrics.device_seconds.observe(seconds)
        self._metrics.batch_rows.observe(len(rows))
        self._metrics.batch_fill.observe(real / taken)
        self._metrics.tokens.labels("real").inc(real)
        self._metrics.tokens.labels("padding").inc(taken - real)
        self._metrics.flops.inc(model.operations(lengths))
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
