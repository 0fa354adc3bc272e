"""How alarms are scored against spikes whose places are known, and false alarms against chance."""

from __future__ import annotations

from collections.abc import Sequence
from math import exp, log
from typing import NamedTuple

import numpy as np

from online.arrays import F64, I64
from online.spikes_simulate import STEP_SECONDS, STEPS_A_DAY, Spike

GRACE = 12  # steps after a spike in which its alarm still counts
SAME = 36  # steps between alarms of one key that are one


class Scores(NamedTuple):
    """Figures of one run or the sum of several.

    Attributes:
        delays: minutes from the spike's first step to its alarm, of the hits.
        ratios: the delays ÷ Lorden's bound, of hits for which that is inside the spike's reach.
    """

    spikes: int
    hits: int
    detectable: int
    detected: int
    false_alarms: int
    delays: list[float]
    ratios: list[float]

    def plus(self, other: Scores) -> Scores:
        """Both runs together."""
        return Scores(
            self.spikes + other.spikes,
            self.hits + other.hits,
            self.detectable + other.detectable,
            self.detected + other.detected,
            self.false_alarms + other.false_alarms,
            self.delays + other.delays,
            self.ratios + other.ratios,
        )

    def figures(self) -> dict[str, float | None]:
        """Recall, precision, median delay in minutes and ÷ Lorden's bound."""
        alarms = self.hits + self.false_alarms
        return {
            "recall": self.hits / self.spikes if self.spikes else None,
            "precision": self.hits / alarms if alarms else None,
            "delay_minutes": float(np.median(self.delays)) if self.delays else None,
            "delay_over_lorden": float(np.median(self.ratios)) if self.ratios else None,
            "lorden_detectable_recall": (
                self.detected / self.detectable if self.detectable else None
            ),
        }


NOTHING = Scores(0, 0, 0, 0, 0, [], [])


def lorden(spike: Spike, keys: int, budget: float) -> float:
    """Comments that any detector of this budget needs on average, to first order."""
    p, q = spike.usual, min(spike.usual * spike.share, 0.9)
    p, q = max(p, 1e-3), max(q, p + 1e-3)
    divergence = q * log(q / p) + (1.0 - q) * log((1.0 - q) / (1.0 - p))
    return float(log(max(keys * STEPS_A_DAY / budget, 2.0)) / divergence)


def scored(
    alarms: Sequence[tuple[int, float]],
    spikes: Sequence[Spike],
    key: I64,
    at: F64,
    keys: int,
    budget: float,
    since: float = -np.inf,
) -> Scores:
    """Score alarms (key, epoch seconds), in order of time.

    Args:
        key, at: of the comments.
        keys: K.
        since: alarms before this time are passed over.
    """
    where = {spike.key: spike for spike in spikes}
    hit: dict[int, float] = {}
    last: dict[int, float] = {}
    wrong = 0
    for k, time in alarms:
        step = time / STEP_SECONDS
        spike = where.get(k)
        if spike is not None and spike.first <= step <= spike.last + GRACE:
            hit.setdefault(k, step)
        elif time >= since and step - last.get(k, -np.inf) > SAME:
            wrong += 1
        last[k] = step
    delays, ratios, detectable, detected = [], [], 0, 0
    for spike in spikes:
        need = lorden(spike, keys, budget)
        steps = np.sort(at[key == spike.key]) / STEP_SECONDS
        inside = steps[(steps >= spike.first) & (steps < spike.last)]
        reach = len(inside) >= need
        detectable += reach
        if spike.key in hit:
            detected += reach
            delays.append((hit[spike.key] - spike.first) * STEP_SECONDS / 60.0)
            if reach:
                bound = inside[max(int(np.ceil(need)) - 1, 0)] - spike.first
                ratios.append((hit[spike.key] - spike.first) / max(bound, 1.0))
    return Scores(len(spikes), len(hit), detectable, detected, wrong, delays, ratios)


def upper95(events: int) -> float:
    """One-sided 95 % upper limit of a Poisson mean after so many events."""
    low, high = float(events), events + 10.0 + 4.0 * events**0.5
    for _ in range(60):
        middle = (low + high) / 2.0
        term = total = exp(-middle)
        for i in range(1, events + 1):
            term *= middle / i
            total += term
        low, high = (middle, high) if total > 0.05 else (low, middle)
    return float(high)
