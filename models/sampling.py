"""Which rows to train on: sets are drawn by n^0.3, so that large ones do not drown small ones.

More rows of a large set hurt the sets that differ from it (measured: design note "The classifier").
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from models.data import LABELS, LabelledSet
from models.topic_data import TopicSet

EXPONENT = 0.3


class TrainingRow(Struct, frozen=True):
    """A text, its label, and whether its set knows no neutral.

    `outputs`: the first of the head that its label set has, and the one behind its last. Sentiment
    has the first three; label sets of topics stand behind it, and a label counts from 0 over all.
    """

    text: str
    label: int
    two_class: bool
    outputs: tuple[int, int] = (0, len(LABELS))


def quotas(sizes: Sequence[int], total: int) -> list[int]:
    """Rows of each set: proportional to n^0.3, never more than the set has."""
    left = {index: size for index, size in enumerate(sizes) if size}
    taken = dict.fromkeys(range(len(sizes)), 0)
    while left and sum(taken.values()) < total:
        open_rows = total - sum(taken.values())
        weights = {index: sizes[index] ** EXPONENT for index in left}
        scale = open_rows / sum(weights.values())
        for index, weight in weights.items():
            taken[index] = min(sizes[index], taken[index] + max(1, int(weight * scale)))
        # What a small set cannot give is spread over the others in the next round.
        left = {index: size for index, size in left.items() if taken[index] < size}
    return [taken[index] for index in range(len(sizes))]


def draw(
    sets: Sequence[LabelledSet], total: int, generator: np.random.Generator
) -> tuple[list[TrainingRow], dict[str, int]]:
    """Rows to train on, without replacement, and how many came from each set."""
    counts = quotas([len(each.train) for each in sets], total)
    named = {each.name: count for each, count in zip(sets, counts, strict=True)}
    return draw_counts(sets, named, generator), named


def draw_counts(
    sets: Sequence[LabelledSet], counts: Mapping[str, int], generator: np.random.Generator
) -> list[TrainingRow]:
    """So many rows of each set; the same ones as `draw` where counts and generator are the same."""
    rows: list[TrainingRow] = []
    for each in sets:
        chosen = generator.choice(len(each.train), size=counts[each.name], replace=False)
        rows += [
            TrainingRow(each.train[index].text, each.train[index].label, each.two_class)
            for index in chosen
        ]
    return rows


def topic_counts(
    topics: Sequence[TopicSet], sets: Sequence[LabelledSet], drawn: int
) -> dict[str, int]:
    """Rows of each topic set beside `drawn` of `sets`: as many for its n^0.3 as those have."""
    rate = drawn / sum(len(each.train) ** EXPONENT for each in sets)
    return {
        each.name: min(len(each.train), round(rate * len(each.train) ** EXPONENT))
        for each in topics
    }


def topic_places(topic: TopicSet, count: int, seed: int) -> NDArray[np.int64]:
    """Which `count` of a topic set's training rows an adapter is fitted to, without replacement."""
    most = min(count, len(topic.train))
    return np.random.default_rng(seed).choice(len(topic.train), size=most, replace=False)


def draw_topics(
    topics: Sequence[TopicSet], counts: Mapping[str, int], seed: int
) -> list[TrainingRow]:
    """So many rows of each topic set, its outputs behind those of the sets before it."""
    rows: list[TrainingRow] = []
    first = len(LABELS)
    for topic in topics:
        outputs = first, first + len(topic.labels)
        chosen = (topic.train[at] for at in topic_places(topic, counts[topic.name], seed))
        rows += [TrainingRow(row.text, first + row.label, False, outputs) for row in chosen]
        first = outputs[1]
    return rows
