"""What is usual: a share of negative comments for every key, and a season by the hour.

Empirical Bayes over keys (beta-binomial, moments of DerSimonian and Laird): the keys' shares are
draws of Beta(a, b), fitted once a day, so that a key is judged from its first comment on and a
well-known one by its own record. The bound that the null hypothesis speaks of is the posterior
mean + 2 standard errors. Incidents are left out, and yesterday weighs more than last week.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from online.arrays import F64
from online.spikes_bets import ENDING
from online.spikes_keys import Keys, Usual

KEPT_A_DAY = 0.9  # a half-life of 6.6 days
FORTNIGHT = 14  # days that a silence ages a record by, at most: no stamp can wipe it out
ERRORS = 2.0
FEWEST, MOST = 4.0, 500.0  # comments that the prior may be worth
LEAST_SPREAD, MOST_SPREAD = 0.002, 0.5  # baselines that are a little off look like the least
STEPS_A_DAY = 288
WEEK = 5 * STEPS_A_DAY  # what is left of seven days' steps: volume has its weekdays
FEWEST_NEGATIVES = 10.0
LEAST_BURST, MOST_BURST = 0.02, 10.0
USUAL = 20.0  # what it is worth before there are keys to learn it from …
USUAL_KEYS = 2.0  # … which weighs as much as this many keys


def prior(negatives: F64, comments: F64) -> tuple[float, float]:
    """Beta(a, b) of the keys' shares as (mean, a + b).

    Args:
        negatives, comments: float64[keys].
    """
    known = comments >= 1.0
    x, n = negatives[known], comments[known]
    total = n.sum()
    mean = (x.sum() + 1.0) / (total + 2.0)
    spread = mean * (1.0 - mean)
    usual = spread / (USUAL + 1.0)
    between, keys = usual, max(len(n) - 1.0, 0.0)
    scale = total - (n**2).sum() / total if total else 0.0
    if keys and scale > 0.0:
        around = (n * (x / n - mean) ** 2).sum()
        between = max(0.0, (around - keys * spread) / scale)
    variance = (keys * between + USUAL_KEYS * usual) / (keys + USUAL_KEYS)
    variance += spread / (total + 2.0)  # the mean itself is not known better than this
    return float(mean), float(np.clip(spread / variance - 1.0, FEWEST, MOST))


def refresh(keys: Keys, size: int, items: npt.NDArray[np.bool_], usual: Usual, kept: float) -> None:
    """Fold what was said since the last refresh into the record, and fit the prior to it.

    Args:
        items: bool[size], the keys that the prior is learned from.
        kept: share of the old record that is not forgotten.
    """
    keys.folded[:size] *= kept
    keys.folded[:size] += keys.pending[:size]
    keys.pending[:size] = 0.0
    x, n = keys.folded[:size, 0], keys.folded[:size, 1]
    usual.prior[:] = prior(x[items], n[items])
    keys.mean[:size] = (x + usual.prior[0] * usual.prior[1]) / (n + usual.prior[1])


def learn_rates(keys: Keys, size: int, step: int) -> None:
    """Negatives a step of every key that has been known for a week.

    Args:
        step: the present one.
    """
    born = keys.born[:size]
    known = born >= 0
    keys.folded[:size, 2] += np.where(known, np.maximum(step - born, 0), 0)
    keys.born[:size] = np.where(known, np.maximum(step, born), born)
    x, steps = keys.folded[:size, 0], keys.folded[:size, 2]
    enough = (steps >= WEEK) & (x >= FEWEST_NEGATIVES)
    most = (x + ERRORS * np.sqrt(x + 1.0)) / np.maximum(steps, 1.0)
    keys.rate[:size] = np.where(enough, most, 0.0)


def bring_forward(keys: Keys, size: int, silence: int, days: int) -> None:
    """Move keys over a silence of all of them.

    Rates are of the time in which somebody spoke; records are older, so that the prior, which
    stays, weighs more.

    Args:
        silence: steps without a comment.
        days: of these that are left out.
    """
    known = keys.step[:size] >= 0
    keys.born[:size] += np.where(known, silence, 0)
    keys.step[:size] += np.where(known, days * STEPS_A_DAY, 0)
    keys.cusum[:size] -= ENDING * days * STEPS_A_DAY
    keys.folded[:size] *= KEPT_A_DAY ** min(days, FORTNIGHT)


def shrunk(observed: F64, expected: F64, variance: F64) -> F64:
    """Factors on an expectation, shrunk as far as chance explains them (James-Stein).

    Args:
        observed, expected, variance: float64[cells].

    Returns:
        float64[cells]; all ones where the cells differ no more than by chance.
    """
    seen = (variance > 0.0) & (expected > 0.0)  # a first day without negatives expects none
    if not observed.any():
        return np.ones(len(observed))
    level = observed.sum() / expected.sum()
    mean = np.where(seen, level * expected, 1.0)
    z2 = np.where(seen, (observed - mean) ** 2 / np.where(seen, variance, 1.0), 0.0)
    trust = max(0.0, 1.0 - max(seen.sum() - 1.0, 1.0) / max(z2.sum(), 1e-9))
    factor = np.where(seen, observed / mean, 1.0)
    return np.asarray(1.0 + trust * (factor - 1.0))


def season(seasonal: F64, weeks: float) -> F64:
    """Factor on the share by hour of the week: the hour of the day, then what the weekday adds.

    Args:
        seasonal: float64[168, 3]: negatives, their expectation, its variance.
        weeks: that were seen; a weekday seen once says nothing of the next.
    """
    daily = np.tile(shrunk(*seasonal.reshape(7, 24, 3).sum(0).T), 7)
    if weeks < 2.0:
        return np.asarray(np.clip(daily, 0.5, 2.0))
    weekly = shrunk(seasonal[:, 0], seasonal[:, 1] * daily, seasonal[:, 2] * daily)
    return np.asarray(np.clip(daily * weekly, 0.5, 2.0))


def loudness(loud: F64) -> F64:
    """Factor on the number of comments by hour of the week."""
    daily = loud.reshape(7, 24).sum(0)
    hours = np.ones(24) if not daily.any() else (daily / daily.mean() + 0.01) / 1.01
    return np.tile(hours, 7)


def spread(spreading: F64) -> float:
    """ρ, the correlation of comments within a step; 0 where chance explains it (two errors).

    Args:
        spreading: float64[3] of `Usual`.
    """
    excess, scale, variance = spreading
    if excess <= max(ERRORS * np.sqrt(variance), LEAST_SPREAD * scale):
        return 0.0
    return float(min(excess / scale, MOST_SPREAD))


def relearn(usual: Usual, kept: float, steps: float, days: int) -> None:
    """A day is over: set seasons, spreads and w from what was learned; forget a part of it.

    Args:
        steps: of all keys since the last refresh, with comments or without.
        days: that were seen.
    """
    if days <= 1 and usual.seasonal[:, 1].any():  # counts so far: the level was not known yet
        usual.seasonal[:, 1] *= usual.seasonal[:, 0].sum() / usual.seasonal[:, 1].sum()
    usual.season[:] = season(usual.seasonal, days / 7.0)
    usual.loudness[:] = loudness(usual.loud)
    usual.spread[:] = spread(usual.spreading)
    usual.burst[0] = MOST_BURST
    if usual.burst[2] > 0.0:
        usual.burst[0] = min(max(usual.burst[1] / usual.burst[2], LEAST_BURST), MOST_BURST)
    usual.steps[2] += steps
    usual.steps[0] = np.log(max(usual.steps[2] / max(usual.steps[1], 1.0), 1.0))
    usual.seasonal[:] *= kept
    usual.spreading[:] *= kept
    usual.loud[:] *= kept
    usual.burst[1:] *= kept
    usual.steps[1:3] *= kept
