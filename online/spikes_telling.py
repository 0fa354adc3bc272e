"""The comments that tell what a spike is about: the surest negatives, near-duplicates collapsed."""

from __future__ import annotations

import re
from collections.abc import Sequence

SHINGLE = 4
ALIKE = 0.6  # Jaccard similarity of character shingles
_NOISE = re.compile(r"https?://\S+|[@#]\S+|[\W\d_]+")


def most_telling(comments: Sequence[tuple[str, str, float]], n: int) -> list[int]:
    """Indices of at most `n` comments, the surest first, no two of them near-duplicates.

    Args:
        comments: (id, text, probability of negative).
    """
    order = sorted(range(len(comments)), key=lambda i: (-comments[i][2], comments[i][0]))
    chosen: list[int] = []
    shapes: list[frozenset[str]] = []
    for i in order:
        shape = shingles(comments[i][1])
        if len(chosen) == n:
            break
        if shape and not any(alike(shape, other) for other in shapes):
            chosen.append(i)
            shapes.append(shape)
    return chosen


def shingles(text: str) -> frozenset[str]:
    """Character 4-grams of the text without links, names, digits and punctuation."""
    plain = _NOISE.sub(" ", text.casefold()).strip()
    return frozenset(
        plain[i : i + SHINGLE] for i in range(max(1, len(plain) - SHINGLE + 1)) if plain
    )


def alike(one: frozenset[str], other: frozenset[str]) -> bool:
    """Whether two texts are near-duplicates."""
    return len(one & other) >= ALIKE * len(one | other)
