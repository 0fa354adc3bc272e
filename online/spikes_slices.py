"""The slice of comments that holds a spike: topic × surface × model version × language.

A scan over slices (Kulldorff's likelihood-ratio statistic, its subsets being what some attributes
have in common): with n comments and Σx negatives in a slice and p₀ the share to expect there, its
evidence is Σx·ln(q/p₀) + (n − Σx)·ln((1 − q)/(1 − p₀)), q = Σx/n. A slice that is too wide dilutes
q, one that is too narrow leaves evidence outside; every attribute costs ln n (twice BIC's, since
the best of many values is looked for). The slice named first has the most evidence of those that
hold at least 80 % of the excess.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from math import log
from typing import NamedTuple

Attributes = Mapping[str, str]

ENOUGH = 0.8
WORTH = 10.0  # comments that the key's own share is worth in a slice's
MOST_VALUES = 20  # of an attribute


class Slice(NamedTuple):
    """What the comments have in common; nothing: the spike is everywhere.

    Attributes:
        held: its evidence ÷ that of the slice with most.
        share, usual: of negative comments, now and before.
    """

    attributes: dict[str, str]
    held: float
    share: float
    usual: float
    negatives: float
    comments: int
    evidence: float


def slices(
    spike: Sequence[tuple[Attributes, float]],
    before: Sequence[tuple[Attributes, float]],
    usual: float,
    n: int = 3,
) -> list[Slice]:
    """At most `n` slices that hold the spike, the likeliest first; never empty with comments.

    Args:
        spike: attributes, and the probability that the comment is negative.
        before: comments of usual times on the same key.
        usual: the key's share.
    """
    if not spike:
        return []
    values = {name: _common_values(spike, name) for name in sorted(spike[0][0])}
    names = [name for name, known in values.items() if len(known) > 1]
    found = []
    for size in range(len(names) + 1):
        for chosen in combinations(names, size):
            found += _sliced(spike, before, usual, chosen, values)
    best = max([1e-9, *(each.evidence for each in found)])
    held = [each._replace(held=each.evidence / best) for each in found]
    enough = [each for each in held if each.held >= ENOUGH] or held[:1]
    cost = log(len(spike) + 1.0)
    enough.sort(key=lambda each: (len(each.attributes) * cost - each.evidence, str(each)))
    return enough[:n]


def _common_values(spike: Sequence[tuple[Attributes, float]], name: str) -> list[str]:
    counts: dict[str, int] = {}
    for attributes, _ in spike:
        counts[attributes.get(name, "")] = counts.get(attributes.get(name, ""), 0) + 1
    return sorted(counts, key=lambda value: (-counts[value], value))[:MOST_VALUES]


def _sliced(
    spike: Sequence[tuple[Attributes, float]],
    before: Sequence[tuple[Attributes, float]],
    usual: float,
    names: tuple[str, ...],
    values: Mapping[str, list[str]],
) -> list[Slice]:
    """The slices by these attributes that are in the spike."""
    now, then = _sums(spike, names), _sums(before, names)
    made = []
    for key, (negatives, comments) in now.items():
        if not all(value in values[name] for name, value in zip(names, key, strict=True)):
            continue
        old, number = then.get(key, (0.0, 0))
        p = (old + WORTH * usual) / (number + WORTH)
        made.append(
            Slice(
                dict(zip(names, key, strict=True)), 0.0, negatives / comments, p, negatives,
                comments, _evidence(negatives, comments, min(max(p, 0.003), 0.98)),
            )
        )  # fmt: skip
    return made


def _sums(
    comments: Sequence[tuple[Attributes, float]], names: tuple[str, ...]
) -> dict[tuple[str, ...], tuple[float, int]]:
    sums: dict[tuple[str, ...], tuple[float, int]] = {}
    for attributes, x in comments:
        key = tuple(attributes.get(name, "") for name in names)
        negatives, count = sums.get(key, (0.0, 0))
        sums[key] = negatives + x, count + 1
    return sums


def _evidence(negatives: float, comments: int, p: float) -> float:
    q = min(max(negatives / comments, 1e-9), 1.0 - 1e-9)
    if q <= p:
        return 0.0
    return negatives * log(q / p) + (comments - negatives) * log((1.0 - q) / (1.0 - p))
