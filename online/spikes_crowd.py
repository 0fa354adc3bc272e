"""e-d-BH over keys: several keys near an alarm lend each other a lower threshold.

At any time, of all keys' evidence M the largest j with M₍ⱼ₎ ≥ A/j raise an alarm: with A = K·B/β
the share of false ones among the open incidents stays below β/B under any dependence between keys
(Dandapanthula, Ramdas, 2501.04130). One key alone needs A; nothing changes where nothing happens.

That bounds how often keys alarm together, not how many do. With w, what a step with comments adds,
a usual key has M = 6 w to 11 w most of the time, one in a hundred 40 w to 90 w: on a thin stream
that is A/j of many keys, so 100 w is the least with which keys alarm together.
"""

from __future__ import annotations

import numpy as np

from online.arrays import F64, I64
from online.kernels import kernel
from online.spikes_keys import CROWD

NEAR = float(np.log(CROWD))
UNUSUAL = float(np.log(100.0))  # M/w


@kernel()
def passes(total: F64, k: int, crowd: I64, threshold: float, least: float) -> bool:
    """Whether the evidence of key k is among the largest j that raise an alarm.

    Args:
        total: float64[keys], ln M of every key.
        crowd: keys that have been near an alarm, kept up to date here.
        threshold: ln A.
        least: ln of what usual keys do not have.
    """
    evidence = total[k]
    if evidence < threshold - NEAR:
        return False
    enter(total, k, crowd, threshold - NEAR)
    if evidence >= threshold:
        return True
    known = crowd[crowd >= 0]
    values = np.sort(total[known])
    for j in range(len(values), 0, -1):
        together = max(threshold - np.log(j), least)
        if values[len(values) - j] >= together:
            return bool(evidence >= together)
    return False


@kernel()
def enter(total: F64, k: int, crowd: I64, near: float) -> None:
    """Put key k into the crowd; where it is full, the crowd stays as it is."""
    free = -1
    for at in range(len(crowd)):
        if crowd[at] == k:
            return
        if crowd[at] < 0 or total[crowd[at]] < near:
            free = at
    if free >= 0:
        crowd[free] = k
