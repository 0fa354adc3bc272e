"""The betting processes of the share channel, for one key and one comment at a time.

With p₀ the share of negative comments to expect and ω a bet on the odds ratio, a comment of x, the
probability that it is negative, multiplies by (1 + (ω − 1)x)/(1 − p₀ + ωp₀): linear in x, so its
mean is 1 as long as the mean of x is p₀, however unsure or shifted the classifier is, and for
x = 0 or 1 it is the likelihood ratio of the share q = ωp₀/(1 − p₀ + ωp₀). Over steps of event
time, with L the step's product,

    e-SR      M ← L · (M + w), averaged over the bets; alarm at M ≥ A
    CUSUM     W ← max(W, 1) · l per comment, less 1/144 in a step: the most likely start of the
              spike, where spikes last half a day on average
    mirrored  the same e-SR with 1/ω against "the share is still half way up to the incident's";
              resolves at B/β, one incident closed too early in so many days of incidents

Inside a step M is tested after every comment (valid by optional stopping), so that the deciding
comment alerts at once. Shin, Ramdas, Rinaldo, "E-detectors" (2022): by the time that weights w
have been added up to A, one false alarm at most is to be expected. Steps without a comment add
nothing, so those with one may add w = all steps ÷ steps with comments. All values are natural
logarithms.
"""

from __future__ import annotations

import numpy as np

from online.arrays import F64
from online.kernels import kernel
from online.spikes_keys import BETS, FIRING, NONE, Keys

ODDS = np.array([1.5, 2.2, 3.5, 6.0])
LOWEST, HIGHEST = 0.003, 0.98  # of p₀: beyond them a bet would rest on a handful of comments
SHRUNK = 20.0  # comments
ENDING = 1.0 / 144.0  # of a spike, per step

FIRED, GREW, RESOLVED = 1, 2, 3

# Columns of a report.
SLOT, KIND, ROW, EVIDENCE, START, NEGATIVES, COMMENTS, MEAN, LEVEL, CHANNEL = range(10)
REPORT = 10

TENFOLD = float(np.log(10.0))  # a plain float: it ends in an alert, and numpy's are no JSON
MAJOR, SEVERE = 2 * TENFOLD, 6 * TENFOLD  # evidence above the alarm's threshold, natural log


@kernel()
def log_sum(one: float, other: float) -> float:
    """ln(a + b) of ln a and ln b."""
    if one < other:
        one, other = other, one
    if other == -np.inf or one - other > 35.0:
        return one
    return float(one + np.log1p(np.exp(other - one)))


@kernel()
def log_mean(values: F64) -> float:
    """Logarithm of the mean of exp(values); a mean of e-values is an e-value."""
    top = values.max()
    if top == -np.inf:
        return float(top)
    return float(top + np.log(np.mean(np.exp(values - top))))


@kernel()
def level_of(excess: float) -> int:
    """0 minor, 1 major, 2 severe."""
    if excess >= SEVERE:
        return 2
    return 1 if excess >= MAJOR else 0


@kernel()
def bet(
    keys: Keys, k: int, negative: float, at: float, share: float, passed: int, w: float
) -> None:
    """Let the e-SR and CUSUM processes of a key take one comment.

    Args:
        share: p₀.
        passed: steps since the comment before, 0: the same step.
        w: logarithm of what a new step adds.
    """
    for b in range(BETS):
        log_l = np.log1p(negative * (ODDS[b] - 1.0)) - np.log(1.0 - share + ODDS[b] * share)
        before = keys.evidence[k, b]
        keys.evidence[k, b] = (log_sum(before, w) if passed else before) + log_l
        keys.cusum[k, b] -= ENDING * passed
        if keys.cusum[k, b] <= 0.0:
            keys.cusum[k, b] = 0.0
            keys.start[k, b] = at
            keys.since[k, b, 0] = 0
            keys.since[k, b, 1] = 0
        keys.cusum[k, b] += log_l
        keys.since[k, b, 0] += negative
        keys.since[k, b, 1] += 1


@kernel()
def half_way(keys: Keys, k: int, bound: float) -> float:
    """The share, in odds, between the bound and the incident's, which is shrunk to the bound:
    the comments that raised an alarm overstate it."""
    negatives, comments = keys.incident[k, 1], keys.incident[k, 2]
    share = (negatives + SHRUNK * bound) / (comments + SHRUNK)
    odds = np.sqrt(max(share, bound) / (1.0 - max(share, bound)) * bound / (1.0 - bound))
    return float(odds / (1.0 + odds))


@kernel()
def calm_down(keys: Keys, k: int, negative: float, bound: float, new_step: bool) -> float:
    """Let the mirrored process of a firing key take one comment; its evidence."""
    bound = half_way(keys, k, bound)
    for b in range(BETS):
        log_l = np.log1p(negative * (1.0 / ODDS[b] - 1.0)) - np.log(1.0 - bound + bound / ODDS[b])
        before = keys.calm[k, b]
        keys.calm[k, b] = (log_sum(before, 0.0) if new_step else before) + log_l
    return float(log_mean(keys.calm[k]))


@kernel()
def fire(keys: Keys, k: int, excess: float) -> None:
    """Open an incident: it began where the strongest CUSUM did, and leaves the baseline alone."""
    b = int(np.argmax(keys.cusum[k]))
    negatives, comments = keys.since[k, b, 0], keys.since[k, b, 1]
    keys.incident[k, 0] = keys.start[k, b]
    keys.incident[k, 1] = negatives
    keys.incident[k, 2] = comments
    keys.incident[k, 3] = excess
    keys.calm[k] = -np.inf
    keys.status[k, 0] = FIRING
    keys.status[k, 1] = level_of(excess)
    keys.pending[k, 0] = max(0.0, keys.pending[k, 0] - negatives)
    keys.pending[k, 1] = max(keys.pending[k, 0], keys.pending[k, 1] - comments)


@kernel()
def close(keys: Keys, k: int) -> None:
    """End an incident: every process starts anew."""
    keys.status[k, 0] = NONE
    keys.status[k, 1] = 0
    keys.evidence[k] = -np.inf
    keys.volume[k] = -np.inf
    keys.total[k] = -np.inf
    keys.calm[k] = -np.inf
    keys.cusum[k] = 0.0


@kernel()
def in_incident(
    keys: Keys, k: int, negative: float, bound: float, new_step: bool, excess: float, calm: float
) -> int:
    """One more comment of an incident; what there is to tell, NONE where nothing."""
    resolved = calm_down(keys, k, negative, bound, new_step) >= calm
    keys.incident[k, 1] += negative
    keys.incident[k, 2] += 1
    if resolved:
        return RESOLVED
    level = level_of(excess)
    if level > keys.status[k, 1] and excess >= keys.incident[k, 3] + TENFOLD:
        keys.status[k, 1] = level
        keys.incident[k, 3] = excess
        return GREW
    return NONE
