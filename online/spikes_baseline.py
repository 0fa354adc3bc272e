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
from online.spikes_keys import FIRING, HOURS, Keys, Usual

KEPT_A_DAY = 0.9  # a half-life of 6.6 days
ERRORS = 2.0
FEWEST, MOST = 4.0, 500.0  # comments that the prior may be worth
LEAST_SPREAD, MOST_SPREAD = 0.002, 0.5  # baselines that are a little off look like the least
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


def posterior(negatives: F64, comments: F64, mean: float, worth: float) -> tuple[F64, F64]:
    """Mean share, and mean + 2 standard errors, of every key; float64[keys] each."""
    weight = comments + worth
    share = (negatives + mean * worth) / weight
    return share, share + ERRORS * np.sqrt(share * (1.0 - share) / (weight + 1.0))


def fold(keys: Keys, size: int, kept: float) -> None:
    """Take what was said since the last refresh into the record; forget a part of the older."""
    keys.folded[:size] *= kept
    keys.folded[:size] += keys.pending[:size]
    keys.pending[:size] = 0.0


def refresh(keys: Keys, size: int, items: npt.NDArray[np.bool_], kept: float) -> None:
    """Set mean and bound of the first `size` keys from their record.

    Args:
        items: bool[size], the keys that the prior is learned from.
        kept: share of the old record that is not forgotten.
    """
    fold(keys, size, kept)
    x, n = keys.folded[:size, 0], keys.folded[:size, 1]
    mean, worth = prior(x[items], n[items])
    share, bound = posterior(x, n, mean, worth)
    quiet = keys.status[:size, 0] != FIRING  # an incident is judged by what was usual before it
    keys.mean[:size] = np.where(quiet, share, keys.mean[:size])
    keys.bound[:size] = np.where(quiet, bound, keys.bound[:size])


def season(seasonal: F64) -> F64:
    """Factor on the share by hour of the day, shrunk as far as chance explains it.

    Args:
        seasonal: float64[24, 3]: negatives, their expectation, its variance.

    Returns:
        float64[24]; all ones where the hours differ no more than by chance (James-Stein).
    """
    seen = seasonal[:, 2] > 0.0
    if not seasonal[:, 0].any():
        return np.ones(HOURS)
    level = seasonal[:, 0].sum() / seasonal[:, 1].sum()
    expected = np.where(seen, level * seasonal[:, 1], 1.0)
    z2 = np.where(seen, (seasonal[:, 0] - expected) ** 2 / np.where(seen, seasonal[:, 2], 1.0), 0.0)
    trust = max(0.0, 1.0 - max(seen.sum() - 1.0, 1.0) / max(z2.sum(), 1e-9))
    factor = np.where(seen, seasonal[:, 0] / expected, 1.0)
    factors: F64 = np.clip(1.0 + trust * (factor - 1.0), 0.5, 2.0)
    return factors


def spread(spreading: F64) -> float:
    """ρ, the correlation of comments within a step; 0 where chance explains it (two errors).

    Args:
        spreading: float64[3] of `Usual`.
    """
    excess, scale, variance = spreading
    if excess <= max(ERRORS * np.sqrt(variance), LEAST_SPREAD * scale):
        return 0.0
    return float(min(excess / scale, MOST_SPREAD))


def relearn(usual: Usual, kept: float) -> None:
    """Set season and spread from what was learned of them; forget a part of it."""
    usual.season[:] = season(usual.seasonal)
    usual.spread[:] = spread(usual.spreading)
    usual.seasonal[:] *= kept
    usual.spreading[:] *= kept
