"""The volume channel: more negative comments than the hour usually brings.

The Σx of a step is taken as negative binomial: Poisson of mean μ = rate · season · G, with G of a
gamma law of mean 1 and variance 1/κ, since the number of comments varies more than by chance. A
bet on r times the rate multiplies by

    ((κ + μ)/(κ + rμ))^κ          when a step begins (as if it were over: an early test is safe),
    1 + (g − 1)x, g = r(κ + μ)/(κ + rμ)     for each comment (≥ g^x, linear as in the share channel)

which is the likelihood ratio of the whole step; steps without comments multiply by the first line.
Its evidence is mixed with the share's, one to three. But a course that goes viral also has more
negative comments at its usual share: the channel speaks only while the share itself has evidence
that one key would show once a day by chance. That can only make alarms rarer.
"""

from __future__ import annotations

import numpy as np

from online.arrays import F64
from online.kernels import kernel
from online.spikes_bets import log_mean, log_sum
from online.spikes_keys import HOURS, RISES, Keys, Usual

RISE = np.array([1.7, 3.0, 6.0])
SHARE_WEIGHT, VOLUME_WEIGHT = float(np.log(0.75)), float(np.log(0.25))
STEPS_AN_HOUR = 12
STEPS_A_DAY = 288
MOST_STEPS = 2 * STEPS_A_DAY  # of silence that are looked at one by one


@kernel()
def hour_of(step: int) -> int:
    """Hour of the week of a step; 1970 began on a Thursday."""
    return int((step // STEPS_AN_HOUR + 72) % HOURS)


@kernel()
def factor_at(season: F64, step: int) -> float:
    """A season's factor, between the middles of its hours."""
    here = hour_of(step)
    part = (step % STEPS_AN_HOUR + 0.5) / STEPS_AN_HOUR
    other = (here - 1) % HOURS if part < 0.5 else (here + 1) % HOURS
    return float(season[here] + abs(part - 0.5) * (season[other] - season[here]))


@kernel()
def expected_between(usual: Usual, first: int, last: int) -> float:
    """Σ of the season's factors over steps first … last − 1."""
    total = 0.0
    step = first
    while step < last:
        until = min(last, (step // STEPS_AN_HOUR + 1) * STEPS_AN_HOUR)
        total += (until - step) * usual.loudness[hour_of(step)] * usual.season[hour_of(step)]
        step = until
    return total


@kernel()
def open_step(keys: Keys, k: int, step: int, usual: Usual, before: int, w: float) -> None:
    """A new step of a key begins: what silence and the step to come multiply by."""
    rate = keys.rate[k]
    if rate <= 0.0:
        return
    quiet = 0.0
    if before >= 0:
        quiet = rate * expected_between(usual, max(before + 1, step - MOST_STEPS), step)
    mean = rate * factor_at(usual.loudness, step) * factor_at(usual.season, step)
    kappa = 1.0 / max(usual.burst[0], 1e-6)
    for b in range(RISES):
        silent = kappa * np.log((kappa + mean) / (kappa + RISE[b] * mean))
        keys.volume[k, b] = log_sum(keys.volume[k, b] + silent * quiet / mean, w) + silent


@kernel()
def rise(keys: Keys, k: int, negative: float, step: int, usual: Usual) -> None:
    """One comment more."""
    if keys.rate[k] <= 0.0:
        return
    mean = keys.rate[k] * factor_at(usual.loudness, step) * factor_at(usual.season, step)
    kappa = 1.0 / max(usual.burst[0], 1e-6)
    for b in range(RISES):
        g = RISE[b] * (kappa + mean) / (kappa + RISE[b] * mean)
        keys.volume[k, b] += np.log1p((g - 1.0) * negative)


@kernel()
def mixed_evidence(keys: Keys, k: int, gate: float) -> float:
    """ln of both channels' evidence; the volume's counts where the share's passes the gate."""
    share = log_mean(keys.evidence[k])
    mixed = SHARE_WEIGHT + share
    if share >= gate:
        mixed = log_sum(mixed, VOLUME_WEIGHT + log_mean(keys.volume[k]))
    return float(mixed)


@kernel()
def mostly_volume(keys: Keys, k: int) -> bool:
    """Whether the share alone holds less than half of the evidence."""
    return bool(SHARE_WEIGHT + log_mean(keys.evidence[k]) < keys.total[k] - np.log(2.0))
