"""Urgency, deadlines and who answers, on the queue itself with the real model."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import pytest
from prometheus_client import CollectorRegistry

from models.batching import Batcher
from models.classifier import Classifier
from models.errors import DeadlineError, DeviceError
from models.hygiene import MAX_CHARACTERS
from models.metrics import ClassifierMetrics
from models.predictions import CANARIES, Prepared
from models.shadow import KEPT, Shadow
from models.waiting import STARVED_SECONDS, Answer, Ask, Entry, Priority, Task, Waiting

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


def test_a_place_is_free_once_its_text_is_answered_and_after_all_else(
    classifier: Classifier, device: ThreadPoolExecutor
) -> None:
    async def work(batcher: Batcher) -> None:
        asked = asyncio.ensure_future(batcher.predict([LONG] * 80 + [""]))
        seen = {0}
        while not asked.done():
            await asyncio.sleep(0)
            seen.add(batcher.places.taken)
        assert max(seen) == 81 and len(seen - {0, 1, 81}) >= 1, "the batches before the last"
        assert batcher.places.taken == 0
        asked = asyncio.ensure_future(batcher.predict([LONG] * 80))
        while True:
            await asyncio.sleep(0)
            if batcher.places.taken not in (0, 80):
                break
        asked.cancel()
        await asyncio.gather(asked, return_exceptions=True)
        await asyncio.sleep(0)
        assert batcher.places.taken == 0, "neither kept nor given back twice"

    with_batcher(classifier, device, work)


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


def test_a_shadow_keeps_what_is_read_of_a_text_and_no_more(classifier: Classifier) -> None:
    shadow = Shadow(classifier, ClassifierMetrics(CollectorRegistry()))
    shadow.offer(["a" * 1_000_000], [Answer(each) for each in classifier.predict(["a"])])
    assert [len(text) for text, _ in shadow.take()] == [MAX_CHARACTERS]


def test_a_shadow_that_fails_in_whatever_way_stops_nobody(
    classifier: Classifier, device: ThreadPoolExecutor
) -> None:
    class Broken:
        def predict(self, texts: object) -> object:
            raise KeyError("no such head")

    async def work(batcher: Batcher) -> float:
        metrics: Any = batcher._metrics
        batcher.shadow = Shadow(Broken(), metrics)  # type: ignore[arg-type]
        async with asyncio.timeout(30):
            await batcher.predict([*CANARIES])
            await batcher.predict([CANARIES[0]], Ask(Priority.LOW))
            await batcher.predict([CANARIES[0]], Ask(Priority.LOW))
        return float(metrics.shadowed.labels("failed")._value.get())

    assert with_batcher(classifier, device, work) >= len(CANARIES)


POISON = "poison"


@pytest.fixture
def poisoned(classifier: Classifier, monkeypatch: pytest.MonkeyPatch) -> Classifier:
    """One text has an id that is no word's; no tokenizer gives it, and the model fails on it."""
    prepare, for_embedding = classifier.prepare, classifier.prepare_embedding

    def prepared(texts: Any, topics: bool = False) -> list[Prepared]:
        found = prepare(texts, topics)
        return [
            Prepared([10**7]) if text == POISON else each
            for text, each in zip(texts, found, strict=True)
        ]

    def embedded(texts: Any, most: int) -> list[list[int]]:
        found = for_embedding(texts, most)
        return [
            [10**7] if text == POISON else each for text, each in zip(texts, found, strict=True)
        ]

    monkeypatch.setattr(classifier, "prepare", prepared)
    monkeypatch.setattr(classifier, "prepare_embedding", embedded)
    return classifier


def test_a_text_that_the_model_fails_on_harms_no_neighbour(
    poisoned: Classifier, device: ThreadPoolExecutor
) -> None:
    async def work(batcher: Batcher) -> tuple[list[Answer], list[Any]]:
        found = await batcher.predict([POISON, CANARIES[0]])
        both = (batcher.embed([POISON]), batcher.embed([CANARIES[0]]))
        return found.items, await asyncio.gather(*both, return_exceptions=True)

    (bad, good), (failed, vectors) = with_batcher(poisoned, device, work)
    assert bad.prediction.flagged and "failed on this text" in bad.error
    assert (good.prediction.label, good.error) == ("positive", "")
    assert isinstance(failed, DeviceError)
    assert len(vectors.items) == 1


def test_a_device_that_fails_on_every_text_is_no_bad_text(
    classifier: Classifier, device: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(rows: object) -> object:
        raise OSError("no memory")

    async def work(batcher: Batcher) -> None:
        with pytest.raises(DeviceError, match="OSError"):
            await batcher.predict([CANARIES[0]])

    monkeypatch.setattr(classifier, "score", broken)
    with_batcher(classifier, device, work)


def test_what_came_too_late_is_not_even_tokenised(
    classifier: Classifier, device: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(texts: object, topics: bool) -> object:
        raise AssertionError("tokenised")

    async def work(batcher: Batcher) -> float:
        with pytest.raises(DeadlineError):
            await batcher.predict([LONG] * 3, Ask(deadline=time.perf_counter() - 1))
        return float(batcher._metrics.expired._value.get())

    monkeypatch.setattr(classifier, "prepare", never)
    assert with_batcher(classifier, device, work) == 3


def test_who_waits_for_a_batch_on_the_device_is_let_go_at_the_end(
    classifier: Classifier, device: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, over = threading.Event(), threading.Event()

    def slow(rows: object) -> object:
        begun.set()
        over.wait(30)
        return []

    async def work(batcher: Batcher) -> None:
        asked = asyncio.ensure_future(batcher.predict([CANARIES[0]]))
        await asyncio.to_thread(begun.wait, 30)
        await batcher.stop()
        done, _ = await asyncio.wait({asked}, timeout=10)
        over.set()
        assert done and asked.cancelled()

    monkeypatch.setattr(classifier, "score", slow)
    with_batcher(classifier, device, work)
