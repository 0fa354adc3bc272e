"""A burst of comments waits for the classifier; a queue that stands does not."""

from __future__ import annotations

import math
from collections import deque

import numpy as np

from streams.lateness import HURRY_SECONDS, LEAST, Lateness

AT_ONCE = 64
BURST = 100_000.0  # comments a second


class Queue:
    """Comments before a classifier that takes so long for a request and for each text.

    Attributes:
        now: of its clock.
        waited: how long each comment waited for its answer, seconds.
        ahead: seconds by which the clock of whoever appends is behind.
        read: whether it was read.
    """

    def __init__(self, each: float, request: float = 0.002, within: float = 2.0) -> None:
        self.each, self._request_seconds = each, request
        self._lateness = Lateness(within)
        self.now, self.waited, self.read = 1_000_000.0, list[float](), list[bool]()
        self.ahead = 0.0

    def run(self, seconds: float, rate: float, ago: float = 0.0) -> None:
        """At an even rate, which began some seconds ago, until all of them are answered."""
        begin = self.now - ago
        due = deque(begin + number / rate for number in range(round(seconds * rate)))
        while due:
            self.now = max(self.now, due[0])
            waiting = []
            while due and due[0] <= self.now and len(waiting) < AT_ONCE:
                waiting.append(due.popleft())
            self._answer(waiting)

    def _answer(self, some: list[float]) -> None:
        ages = [self.now - came + self.ahead for came in some]
        late = self._lateness.of(ages, len(some) >= AT_ONCE, self.now)
        asked = len(some) - sum(late)
        self.now += asked * self.each + self._request_seconds * (asked > 0)
        self.waited += [self.now - came for came in some]
        self.read += [not each for each in late]


def test_bursts_are_read_to_the_last_comment_whatever_is_between_them() -> None:
    for comments in (640, 950):  # 1.3 and 1.9 s of work
        for pause in (0.5, 1.9, 60.0):
            queue = Queue(0.002)
            for _ in range(50):
                queue.run(comments / BURST, BURST)
                queue.now += pause
            assert all(queue.read)


def test_bursts_that_are_too_large_are_no_queue_that_stands() -> None:
    queue = Queue(0.002)
    for _ in range(20):
        queue.run(1_150 / BURST, BURST)  # 2.3 s of work
        queue.now += 0.5
        before = len(queue.read)
        queue.run(640 / BURST, BURST)
        assert all(queue.read[before:])


def test_a_queue_that_stands_is_not_waited_for_at_any_speed() -> None:
    for each, rate in ((0.02, 110.0), (0.008, 200.0), (0.002, 700.0), (0.001, 1_500.0)):
        queue = Queue(each)
        queue.run(10.0, rate)
        first = len(queue.waited)
        queue.run(45.0, rate)
        later = np.array(queue.waited[first + round(rate) :])
        assert np.median(later) < 0.7 and later.max() < 1.5
        assert sum(queue.read) > 0.6 * 55.0 / each, "of what it can read"


def test_in_a_hurry_some_are_read_whatever_the_clocks_say() -> None:
    queue = Queue(0.008)
    queue.ahead = 0.5
    queue.run(50.0, 200.0)
    assert sum(queue.read) > 0.6 * 50.0 / 0.008, "of what it can read"


def test_a_hurry_is_a_tenth_of_what_may_be_waited_else() -> None:
    lateness = Lateness(30.0)
    for second in range(31):
        assert not any(lateness.of([4.0] * 2 * LEAST + [20.0], full=True, now=float(second)))
    for second in range(31, 63):
        lateness.of([31.0], full=True, now=float(second))
    assert sum(lateness.of([2.0] * LEAST + [2.9, 3.1, 20.0], full=False, now=64.0)) == 2


def test_a_pause_of_the_classifier_is_no_queue_that_stands() -> None:
    queue = Queue(0.004)
    for _ in range(5):
        before = len(queue.read)
        queue.now += 3.0  # it is started again
        queue.run(30.0, 100.0, ago=3.0)
        assert all(queue.read[before + 100 :]), "what came in its first second had waited for two"


def test_where_there_is_room_again_all_are_read_again() -> None:
    for request in (0.002, 0.03, 0.25):  # far away, a request takes long and yet keeps up
        queue = Queue(0.05, request)
        queue.run(30.0, 100.0)
        assert not all(queue.read)
        queue.each = 0.001
        queue.run(HURRY_SECONDS + 10.0, 100.0)
        before = len(queue.read)
        queue.run(600.0, 100.0)
        assert all(queue.read[before:])


def test_requests_that_are_slow_but_keep_up_are_no_queue() -> None:
    for each, request, rate in ((0.005, 0.002, 190.0), (0.001, 0.25, 100.0)):
        queue = Queue(each, request)
        queue.run(60.0, rate)
        assert all(queue.read)


def test_what_came_with_an_age_is_never_late() -> None:
    lateness = Lateness(2.0)
    for second in range(100):
        late = lateness.of([3.0] * 20 + [-math.inf] * 2, full=True, now=float(second))
        assert any(late[:20]) and not any(late[20:])


def test_at_nought_all_wait() -> None:
    queue = Queue(0.01, within=0.0)
    queue.run(20.0, 200.0)
    assert all(queue.read) and max(queue.waited) > 10.0
