"""Which rows to train on: sets are drawn by n^0.3, so that large ones do not drown small ones.

More rows of a large set hurt the sets that differ from it (measured: design note "The classifier").
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from msgspec import Struct

from models.data import LabelledSet

EXPONENT = 0.3


class TrainingRow(Struct, frozen=True):
    """A text, its label, and whether its set knows no neutral."""

    text: str
    label: int
    two_class: bool


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
