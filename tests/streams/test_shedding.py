"""A burst of comments waits for the classifier; a queue that stands does not."""

from __future__ import annotations

from collections import deque

from streams.shedding import LEAST, OVER_SECONDS, REQUEST_SECONDS, Shedding


class Classifier:
    """Reads a text in so many seconds; more come while it does.

    Attributes:
        now: of its clock.
        waits: how long each comment waited for its answer, seconds.
        read: whether each was read.
    """

    def __init__(self, shedding: Shedding, seconds_each: float) -> None:
        self._shedding, self._each = shedding, seconds_each
        self._waiting: list[float] = []
        self.now, self.waits, self.read = 1_000_000.0, list[float](), list[bool]()

    def run(self, seconds: float, rate: float, at_once: int = 64) -> None:
        """Comments at an even rate, each request with what gathered before it."""
        due = deque(self.now + number / rate for number in range(round(seconds * rate)))
        while due or self._waiting:
            if not self._waiting:
                self.now = max(self.now, due[0])
            while due and due[0] <= self.now:
                self._waiting.append(due.popleft())
            self._request(at_once)

    def burst(self, comments: int, at_once: int = 64) -> None:
        self._waiting += [self.now] * comments
        while self._waiting:
            self._request(at_once)

    def _request(self, at_once: int) -> None:
        some, self._waiting = self._waiting[:at_once], self._waiting[at_once:]
        asked = self._shedding.allowed(len(some), self.now)
        seconds = 0.002 + asked * self._each
        self.now += seconds
        self._shedding.answered(asked, seconds, self.now)
        self.waits += [self.now - came for came in some]
        self.read += [number < asked for number in range(len(some))]


def test_a_burst_is_read_to_the_last_comment() -> None:
    classifier = Classifier(Shedding(2.0), 0.002)
    for _ in range(20):
        classifier.burst(640)  # 1.3 s of work
        classifier.now += 60.0
    assert all(classifier.read)


def test_of_a_queue_that_stands_as_much_is_read_and_the_rest_does_not_wait() -> None:
    classifier = Classifier(Shedding(2.0), 0.008)
    classifier.run(60.0, rate=200.0)
    first = sum(wait < 3.0 for wait in classifier.waits)
    assert first == len(classifier.waits) == 12_000
    later = classifier.waits[800:]  # of the first four seconds
    assert max(later) < 2.5 * REQUEST_SECONDS
    assert 0.85 < sum(classifier.read) / (60.0 / 0.008) <= 1.0, "of what it can read"


def test_where_there_is_room_again_all_are_read_again() -> None:
    classifier = Classifier(Shedding(2.0), 0.008)
    classifier.run(10.0, rate=200.0)
    before = len(classifier.read)
    classifier.run(OVER_SECONDS + 2.0, rate=20.0)
    classifier.burst(100)
    assert all(classifier.read[-100:]) and all(classifier.read[before + 200 :])


def test_one_that_hardly_answers_is_still_asked() -> None:
    shedding = Shedding(2.0)
    classifier = Classifier(shedding, 1.0)
    classifier.run(200.0, rate=10.0)
    assert shedding.active and sum(classifier.read) / 200.0 > 0.7
    assert shedding.allowed(100, classifier.now) == LEAST


def test_one_slow_request_says_nothing() -> None:
    shedding = Shedding(2.0)
    for number in range(20):
        assert shedding.allowed(10, 0.02 * number) == 10
        shedding.answered(10, 15.0 if number == 10 else 0.02, 0.02 * number)
    assert not shedding.active


def test_requests_that_are_slow_but_keep_up_are_no_queue() -> None:
    classifier = Classifier(Shedding(2.0), 0.005)
    classifier.run(60.0, rate=190.0)  # of 200
    assert all(classifier.read) and max(classifier.waits) > 1.5 * REQUEST_SECONDS


def test_at_nought_all_wait() -> None:
    classifier = Classifier(Shedding(0.0), 0.01)
    classifier.run(20.0, rate=200.0)
    assert all(classifier.read) and max(classifier.waits) > 10.0
