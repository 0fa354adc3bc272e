"""The betting processes of the share channel: one kernel, a column for every number of a key.

With p₀ the bound on a key's share of negative comments and ω a bet on the odds ratio, a comment of
x, the probability that it is negative, multiplies by (1 + (ω − 1)x)/(1 − p₀ + ωp₀): linear in x,
so its mean is ≤ 1 as long as the mean of x is ≤ p₀, however unsure or shifted the classifier is,
and for x = 0 or 1 it is the likelihood ratio of the share q = ωp₀/(1 − p₀ + ωp₀). Over steps of
event time, with L the step's product,

    e-SR      M ← L · (M + 1), averaged over the bets; alarm at M ≥ A
    CUSUM     W ← max(W, 1) · l per comment; where it last left 1 is the start of the spike
    mirrored  the same e-SR with 1/ω against "the share is still half way up to the incident's";
              resolves at B/β, one incident closed too early in so many days of incidents

Inside a step M is tested after every comment (valid by optional stopping), so that the deciding
comment alerts at once. Shin, Ramdas, Rinaldo, "E-detectors" (2022): E[steps to a false alarm] ≥ A.
Steps without a comment add nothing to M, which only makes alarms rarer. All values are natural
logarithms.
"""

from __future__ import annotations

import numpy as np

from online.arrays import F64, I32, I64, U64
from online.kernels import kernel
from online.spikes_keys import BETS, FIRING, HOURS, NONE, Comments, Keys, Usual
from online.spikes_votes import votes

ODDS = np.array([1.5, 2.2, 3.5, 6.0])
LOWEST, HIGHEST = 0.003, 0.98  # of a bound: beyond them a bet would rest on a handful of comments
SETTLED = 50.0  # comments behind a baseline that season and spread are measured against
SHRUNK = 20.0  # comments

FIRED, GREW, RESOLVED = 1, 2, 3

# Columns of a report.
SLOT, KIND, ROW, EVIDENCE, START, NEGATIVES, COMMENTS, MEAN, LEVEL = range(9)
REPORT = 9

TENFOLD = float(np.log(10.0))  # a plain float: it ends in an alert, and numpy's are no JSON
MAJOR, SEVERE = 2 * TENFOLD, 6 * TENFOLD  # evidence above the alarm's threshold, natural log


@kernel()
def softplus(v: float) -> float:
    """ln(M + 1) of v = ln M."""
    if v > 35.0:
        return v
    return float(np.log1p(np.exp(v)))


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
def expected(keys: Keys, k: int, bound: float, usual: Usual) -> float:
    """The share to expect of the next comment: after others of its step, those weigh in.

    Comments of one step resemble each other more than chance allows (pile-ons, bots). Under a
    beta-binomial law with correlation ρ the x of n so far make the next one negative with
    probability (s·p₀ + x)/(s + n), s = 1/ρ − 1; a bet against that is fair again.
    """
    if usual.spread[0] <= 0.0:
        return bound
    worth = 1.0 / usual.spread[0] - 1.0
    return float(min((worth * bound + keys.now[k, 0]) / (worth + keys.now[k, 1]), HIGHEST))


@kernel()
def learn_spread(keys: Keys, k: int, usual: Usual, hour: int) -> None:
    """A key's step is over: how far was it from what was expected? Then begin a new one."""
    n = float(keys.now[k, 1])
    if n > 1.0 and keys.status[k, 0] != FIRING and keys.folded[k, 1] >= SETTLED:
        p = min(max(keys.mean[k] * usual.season[hour], LOWEST), HIGHEST)
        around = keys.now[k, 2] - 2.0 * p * keys.now[k, 0] + n * p * p  # Σ (x − p)²
        usual.spreading[0] += (keys.now[k, 0] - n * p) ** 2 - around
        usual.spreading[1] += (n - 1.0) * around
        usual.spreading[2] += 2.0 * (n - 1.0) / n * around**2
    keys.now[k] = 0


@kernel()
def learn_season(keys: Keys, k: int, negative: float, usual: Usual, hour: int) -> None:
    """One comment more in this hour of the day."""
    if keys.folded[k, 1] >= SETTLED:
        mean = keys.mean[k]
        usual.seasonal[hour, 0] += negative
        usual.seasonal[hour, 1] += mean
        usual.seasonal[hour, 2] += mean * (1.0 - mean)


@kernel()
def bet(keys: Keys, k: int, negative: float, at: float, bound: float, new_step: bool) -> None:
    """Let the e-SR and CUSUM processes of a key take one comment."""
    for b in range(BETS):
        log_l = np.log1p(negative * (ODDS[b] - 1.0)) - np.log(1.0 - bound + ODDS[b] * bound)
        before = keys.evidence[k, b]
        keys.evidence[k, b] = (softplus(before) if new_step else before) + log_l
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
        keys.calm[k, b] = (softplus(before) if new_step else before) + log_l
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
    keys.status[k] = NONE
    keys.evidence[k] = -np.inf
    keys.calm[k] = -np.inf
    keys.cusum[k] = 0.0


@kernel()
def report(keys: Keys, k: int, kind: int, row: int, evidence: float, out: F64, at: int) -> None:
    """Write down what there is to tell about a key."""
    out[at, SLOT] = k
    out[at, KIND] = kind
    out[at, ROW] = row
    out[at, EVIDENCE] = evidence
    out[at, START] = keys.incident[k, 0]
    out[at, NEGATIVES] = keys.incident[k, 1]
    out[at, COMMENTS] = keys.incident[k, 2]
    out[at, MEAN] = keys.mean[k]
    out[at, LEVEL] = keys.status[k, 1]


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


@kernel()
def observe(
    keys: Keys,
    comments: Comments,
    slots: I32,
    rows: I32,
    first: int,
    table: tuple[U64, I64],
    usual: Usual,
    threshold: float,
    calm: float,
    out: F64,
) -> tuple[int, int]:
    """Let keys take comments, in order, until all are taken or `out` is full.

    Args:
        slots, rows: int32[pairs], a key and the comment it takes.
        first: the pair to begin with.
        table: of the votes.
        usual: season and spread; what they are learned from is added to.
        threshold, calm: ln A of an alarm and of its resolution.
        out: float64[·, REPORT], reports.

    Returns:
        The pair to go on with, and the number of reports.
    """
    reports = 0
    for j in range(first, len(slots)):
        if reports == len(out):
            return j, reports
        k, i = slots[j], rows[j]
        step, x = comments.step[i], comments.negative[i]
        if not votes(table, k, comments.author[i], step):
            continue
        hour = int(comments.at[i] // 3600) % HOURS
        new_step = step > keys.step[k]
        if new_step:
            learn_spread(keys, k, usual, hour)
        keys.step[k] = step
        bound = expected(
            keys, k, min(max(keys.bound[k] * usual.season[hour], LOWEST), HIGHEST), usual
        )
        keys.now[k, 0] += x
        keys.now[k, 1] += 1
        keys.now[k, 2] += x * x
        bet(keys, k, x, comments.at[i], bound, new_step)
        evidence = log_mean(keys.evidence[k])
        if keys.status[k, 0] == FIRING:
            kind = in_incident(keys, k, x, bound, new_step, evidence - threshold, calm)
            if kind:
                report(keys, k, kind, i, evidence, out, reports)
                reports += 1
            if kind == RESOLVED:
                close(keys, k)
            continue
        keys.pending[k, 0] += x
        keys.pending[k, 1] += 1
        if j == 0 or rows[j - 1] != i:  # a comment's first key, its item
            learn_season(keys, k, x, usual, hour)
        if evidence >= threshold:
            fire(keys, k, evidence - threshold)
            report(keys, k, FIRED, i, evidence, out, reports)
            reports += 1
    return len(slots), reports
