"""Urgency, deadlines and who answers, on the queue itself with the real model."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import pytest
from prometheus_client import CollectorRegistry

from models.batching import Ask, Batcher
from models.classifier import Classifier
from models.errors import DeadlineError
from models.metrics import ClassifierMetrics
from models.predictions import CANARIES, Prepared
from models.shadow import KEPT, Shadow
from models.waiting import STARVED_SECONDS, Answer, Entry, Priority, Task, Waiting

T = TypeVar("T")
LONG = "The second part repeats the first, and the exercises do not fit the lectures. " * 9


@pytest.fixture
def device() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as pool:
        yield pool


def with_batcher(
    classifier: Classifier, device: ThreadPoolExecutor, work: Callable[[Batcher], Awaitable[T]]
) -> T:
    async def go() -> T:
        batcher = Batcher(classifier, device, ClassifierMetrics(CollectorRegistry()))
        batcher.start()
        try:
            return await work(batcher)
        finally:
            await batcher.stop()

    return asyncio.run(go())


def entry(classifier: Classifier, priority: Priority, queued_at: float, tokens: int = 3) -> Entry:
    future: asyncio.Future[Answer] = asyncio.Future(loop=asyncio.new_event_loop())
    row = Prepared([5] * tokens)
    return Entry(Task.PREDICT, classifier, row, future, queued_at, priority=priority)  # type: ignore[arg-type]


def test_the_urgent_go_before_the_next_batch_and_the_starved_before_all(
    classifier: Classifier,
) -> None:
    waiting = Waiting()
    low = [entry(classifier, Priority.LOW, 0.0, tokens=80) for _ in range(40)]
    for each in low:
        waiting.put(each)
    assert waiting.next_batch(0.0)[0].priority is Priority.LOW
    high = entry(classifier, Priority.HIGH, 0.1)
    waiting.put(high)
    assert waiting.next_batch(0.1) == [high], "the round of the low has another batch to go"
    waiting.put(entry(classifier, Priority.HIGH, STARVED_SECONDS + 0.1))
    assert waiting.next_batch(STARVED_SECONDS + 0.1)[0].priority is Priority.LOW
    assert [each.priority for each in waiting] == [Priority.HIGH]


def test_an_empty_queue_has_no_batch() -> None:
    assert Waiting().next_batch(0.0) == []


def test_a_deadline_that_has_passed_takes_only_its_own_texts(
    classifier: Classifier, device: ThreadPoolExecutor
) -> None:
    async def work(batcher: Batcher) -> tuple[object, str]:
        late = batcher.predict([LONG] * 3, Ask(deadline=time.perf_counter() - 1))
        good = batcher.predict([CANARIES[0]])
        refused, answered = await asyncio.gather(late, good, return_exceptions=True)
        assert not isinstance(answered, BaseException)
        return refused, answered.items[0].prediction.label

    refused, label = with_batcher(classifier, device, work)
    assert isinstance(refused, DeadlineError)
    assert label == "positive"


def test_topic_heads_answer_where_they_are_asked(
    classifier: Classifier, device: ThreadPoolExecutor
) -> None:
    async def work(batcher: Batcher) -> list[Answer]:
        asked = batcher.predict([CANARIES[0], ""], Ask(topics=True))
        plain = batcher.predict([CANARIES[0]])
        both = await asyncio.gather(asked, plain)
        return [*both[0].items, *both[1].items]

    asked, unreadable, plain = with_batcher(classifier, device, work)
    assert set(asked.prediction.topics) == set(classifier.topics)
    for name, shares in asked.prediction.topics.items():
        assert len(shares) == len(classifier.topics[name].labels)
        assert sum(shares) == pytest.approx(1, abs=1e-4)
    assert plain.prediction.topics == unreadable.prediction.topics == {}
    assert asked.prediction.label == plain.prediction.label


def test_a_shadow_drops_what_it_cannot_keep_and_never_the_latest(classifier: Classifier) -> None:
    registry = CollectorRegistry()
    shadow = Shadow(classifier, ClassifierMetrics(registry))
    answers = [Answer(each) for each in classifier.predict([CANARIES[0]])] * (KEPT + 10)
    shadow.offer([CANARIES[0]] * len(answers), answers)
    while not shadow.idle:
        shadow.score(shadow.take()[:2])
    name = "springtide_classifier_shadow_total"
    assert registry.get_sample_value(name, {"outcome": "dropped"}) == 10
    assert registry.get_sample_value(name, {"outcome": "agreed"}) == 2 * KEPT / 32
