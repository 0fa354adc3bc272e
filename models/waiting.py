"""What waits for the device: by urgency, in rounds of like lengths, with deadlines.

A round is what gathered while the device was busy, cut into batches of like length; it is finished
before the next one of its urgency begins, so nobody starves in it. More urgent texts go before the
next batch, and a text that has waited for two seconds is as urgent as any.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from typing import TypeAlias

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from models.classifier import EMBEDDING_TOKENS, Classifier
from models.predictions import Prediction, Prepared

STARVED_SECONDS = 2.0


class Task(StrEnum):
    """What is asked of the device."""

    PREDICT = "predict"
    EMBED = "embed"
    EMBED_ITEMS = "embed-items"


class Priority(IntEnum):
    """Lower goes first."""

    HIGH = 0
    NORMAL = 1
    LOW = 2


class Ask(Struct, frozen=True):
    """A deadline on `time.perf_counter`, topic heads, `tokens` to embed, `items`: by the ranker."""

    priority: Priority = Priority.NORMAL
    deadline: float = float("inf")
    topics: bool = False
    tokens: int = EMBEDDING_TOKENS
    items: bool = False


PLAIN = Ask()


class Answer(Struct, frozen=True):
    """A prediction, and why it says nothing (empty where it does)."""

    prediction: Prediction
    error: str = ""


Result: TypeAlias = Answer | NDArray[np.float32]


@dataclass(eq=False)
class Entry:
    """A tokenised text that waits; times are of `time.perf_counter`.

    `model`: the one that prepared it, and so the one that must answer it, whatever is current then.
    """

    task: Task
    model: Classifier
    row: Prepared
    future: asyncio.Future[Result]
    queued_at: float
    deadline: float = float("inf")
    priority: Priority = Priority.NORMAL


def fail(entries: Sequence[Entry], error: Exception) -> None:
    """Tell those who still wait for these."""
    for entry in entries:
        if not entry.future.done():
            entry.future.set_exception(error)


class Waiting:
    """Entries until they are on the device."""

    def __init__(self) -> None:
        self._gathered: dict[Priority, list[Entry]] = {each: [] for each in Priority}
        self._rounds: dict[Priority, deque[list[Entry]]] = {each: deque() for each in Priority}

    def put(self, entry: Entry) -> None:
        """Let it wait."""
        self._gathered[entry.priority].append(entry)

    def next_batch(self, now: float) -> list[Entry]:
        """The next batch, all of one task and model; empty where nothing waits."""
        for priority in self._by_urgency(now):
            if not self._rounds[priority]:
                self._begin_round(priority)
            if self._rounds[priority]:
                return self._rounds[priority].popleft()
        return []

    def __iter__(self) -> Iterator[Entry]:
        for priority in Priority:
            for batch in self._rounds[priority]:
                yield from batch
            yield from self._gathered[priority]

    def _by_urgency(self, now: float) -> list[Priority]:
        """The starved by their age, then the others by their priority."""

        def urgency(priority: Priority) -> tuple[bool, float]:
            since = self._oldest(priority)
            starved = since is not None and now - since > STARVED_SECONDS
            return not starved, since if starved and since is not None else priority

        return sorted(Priority, key=urgency)

    def _oldest(self, priority: Priority) -> float | None:
        # Of a round any batch may hold the oldest text: its next one is witness enough.
        rounds, gathered = self._rounds[priority], self._gathered[priority]
        oldest = rounds[0][0] if rounds else gathered[0] if gathered else None
        return None if oldest is None else oldest.queued_at

    def _begin_round(self, priority: Priority) -> None:
        entries, self._gathered[priority] = self._gathered[priority], []
        groups: dict[tuple[Task, int], list[Entry]] = {}
        for entry in entries:
            groups.setdefault((entry.task, id(entry.model)), []).append(entry)
        for group in groups.values():
            for batch in group[0].model.batches([len(entry.row.ids) for entry in group]):
                self._rounds[priority].append([group[index] for index in batch])
