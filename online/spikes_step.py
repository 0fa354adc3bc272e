"""One kernel that lets keys take comments: vote, expectation, bets, alarm, baseline."""

from __future__ import annotations

import numpy as np

from online import spikes_bets as told
from online.arrays import F64, I32, I64, U64
from online.kernels import kernel
from online.spikes_bets import FIRED, HIGHEST, LOWEST, RESOLVED, bet, close, fire, in_incident
from online.spikes_crowd import UNUSUAL, passes
from online.spikes_keys import COMMON, FIRING, NONE, Comments, Keys, Usual
from online.spikes_volume import factor_at, hour_of, mixed_evidence, mostly_volume, open_step, rise
from online.spikes_votes import votes

SETTLED = 50.0  # comments behind a baseline that season and spread are measured against
NEW_VERSION = 10.0  # negatives that the prior "scores as the one before" is worth
ERRORS = 2.0  # standard errors
FIRST_DAY = 1.25  # factor on the share while hours are not known: two errors of what they do
STORED = 288.0  # steps a key: weights never run further ahead of time than by a day


@kernel()
def level(keys: Keys, k: int, usual: Usual) -> tuple[float, float]:
    """A key's share before season, by its record, today's comments and the prior; and the bound
    that the null hypothesis speaks of, two standard errors above."""
    worth = usual.prior[1] + keys.folded[k, 1] + keys.pending[k, 1]
    negatives = usual.prior[0] * usual.prior[1] + keys.folded[k, 0] + keys.pending[k, 0]
    p = float(negatives / worth)
    return p, p + ERRORS * np.sqrt(max(p * (1.0 - p), 0.0) / (worth + 1.0))


@kernel()
def after_others(keys: Keys, k: int, share: float, usual: Usual) -> float:
    """The share to expect of the next comment: after others of its step, those weigh in.

    Comments of one step resemble each other more than chance allows (pile-ons, bots). Under a
    beta-binomial law with correlation ρ the x of n so far make the next one negative with
    probability (s·p₀ + x)/(s + n), s = 1/ρ − 1; a bet against that is fair again.
    """
    if usual.spread[0] <= 0.0:
        return share
    worth = 1.0 / usual.spread[0] - 1.0
    return float(min((worth * share + keys.now[k, 0]) / (worth + keys.now[k, 1]), HIGHEST))


@kernel()
def learn_spread(keys: Keys, k: int, usual: Usual, share: float) -> None:
    """A key's step is over: how far was it from what was expected? Then begin a new one."""
    n = float(keys.now[k, 1])
    if n > 1.0 and keys.status[k, 0] != FIRING and keys.folded[k, 1] >= SETTLED:
        around = keys.now[k, 2] - 2.0 * share * keys.now[k, 0] + n * share * share  # Σ (x − p)²
        usual.spreading[0] += (keys.now[k, 0] - n * share) ** 2 - around
        usual.spreading[1] += (n - 1.0) * around
        usual.spreading[2] += 2.0 * (n - 1.0) / n * around**2
    keys.now[k] = 0


@kernel()
def learn_burst(keys: Keys, k: int, usual: Usual, passed: int) -> None:
    """How much more than by chance does the number of negatives vary? Silence counts too."""
    if keys.rate[k] > 0.0 and keys.status[k, 0] != FIRING:
        before = keys.step[k]
        mean = keys.rate[k] * factor_at(usual.loudness, before) * factor_at(usual.season, before)
        usual.burst[1] += (keys.now[k, 0] - mean) ** 2 - keys.now[k, 2] + (passed - 1) * mean**2
        usual.burst[2] += passed * mean**2


@kernel()
def learn(keys: Keys, k: int, x: float, p: float, factor: float, usual: Usual) -> None:
    """A comment outside incidents joins the key's baseline."""
    keys.pending[k, 0] += x
    keys.pending[k, 1] += factor * p if keys.status[k, 2] == COMMON else factor


@kernel()
def learn_usual(
    keys: Keys, k: int, x: float, p: float, season: float, usual: Usual, version: int, passed: int
) -> None:
    """An item's comment outside incidents joins seasons and versions."""
    hour = hour_of(keys.step[k])
    first_day = usual.steps[2] == 0.0
    usual.loud[hour] += 1.0
    if version and passed:
        usual.versions[version, 0] += x
        usual.versions[version, 1] += p * season
    if first_day or keys.folded[k, 1] >= SETTLED:
        usual.seasonal[hour, 0] += x
        usual.seasonal[hour, 1] += 1.0 if first_day else p
        usual.seasonal[hour, 2] += p * (1.0 - p)


@kernel()
def weight(usual: Usual, step: int, each: float) -> float:
    """ln of what a step of a key adds to M: w, or less where the stream is louder than w knows.

    w is learned from days that are over; spent on what follows a silence or a thin year it would
    add up to far more than the steps that pass, and the theorem counts those. So weights are paid
    from a store which every step fills by one for each key, up to a day's.

    Args:
        each: 1/K.
    """
    store = max(0.0, min(usual.steps[3] + (step - usual.steps[4]), STORED))
    w = usual.steps[0] if np.exp(usual.steps[0]) <= store else np.log(store)
    usual.steps[3] = store - np.exp(w) * each
    usual.steps[4] = step
    return float(w)


@kernel()
def begin_step(
    keys: Keys, k: int, step: int, p: float, usual: Usual, each: float
) -> tuple[int, float]:
    """A step of a key begins: learn from the one before; the steps since it, and ln of the weight.

    Args:
        each: 1/K.
    """
    before = keys.step[k]
    passed = step - before if before >= 0 else 1
    usual.steps[1] += 1.0
    if before >= 0:
        learn_burst(keys, k, usual, passed)
        learn_spread(keys, k, usual, bounded(p * factor_at(usual.season, before)))
    else:
        keys.born[k] = step
    w = weight(usual, step, each)
    open_step(keys, k, step, usual, before, w)
    keys.step[k] = step
    return int(passed), w


@kernel()
def report(keys: Keys, k: int, kind: int, row: int, share: float, out: F64) -> None:
    """Write down what there is to tell about a key."""
    out[told.SLOT] = k
    out[told.KIND] = kind
    out[told.ROW] = row
    out[told.EVIDENCE] = keys.total[k]
    out[told.START] = keys.incident[k, 0]
    out[told.NEGATIVES] = keys.incident[k, 1]
    out[told.COMMENTS] = keys.incident[k, 2]
    out[told.MEAN] = share
    out[told.LEVEL] = keys.status[k, 1]
    out[told.CHANNEL] = keys.status[k, 3]


@kernel()
def version_factor(usual: Usual, version: int) -> float:
    """How many times as many negatives this version of the classifier finds as the first did.

    A gamma law of mean 1, learned from one comment of a key and step at most, so that no single
    incident is taken for a trait of the classifier.
    """
    if version == 0:
        return 1.0
    found, expected = usual.versions[version, 0], usual.versions[version, 1]
    return float((NEW_VERSION + found) / (NEW_VERSION + expected))


@kernel()
def common_level(keys: Keys, k: int, item_share: float) -> float:
    """The share that a version's comments should have by their items' baselines.

    Its own record is a day old at least, so that a drift shows before it becomes usual.
    """
    found, expected = keys.folded[k, 0], keys.folded[k, 1]
    return float(item_share * (NEW_VERSION + found) / (NEW_VERSION + expected))


@kernel()
def bounded(share: float) -> float:
    """A share that can be bet against."""
    return float(min(max(share, LOWEST), HIGHEST))


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
    gate: float,
    out: F64,
) -> tuple[int, int]:
    """Let keys take comments, in order, until all are taken or there is something to tell.

    Args:
        slots, rows: int32[pairs], a key and the comment it takes; an item first.
        first: the pair to begin with.
        table: of the votes.
        usual: what holds for all keys; what it is learned from is added to.
        threshold, calm: ln A of an alarm and of its resolution.
        gate: ln of the share's evidence from which on the volume's counts.
        out: float64[REPORT], the report.

    Returns:
        The pair to go on with, and what there is to tell: NONE, FIRED, GREW or RESOLVED.
    """
    each = np.exp(calm - threshold)
    least = UNUSUAL + usual.steps[0]
    item_share = usual.prior[0]
    for j in range(first, len(slots)):
        k, i = slots[j], rows[j]
        step, x = comments.step[i], comments.negative[i]
        leads = j == 0 or rows[j - 1] != i  # a comment's first key, its item
        season = factor_at(usual.season, step)
        if keys.status[k, 2] == COMMON:
            p, factor = common_level(keys, k, item_share), season
            bound = p
        else:
            p, bound = level(keys, k, usual)
            factor = season * version_factor(usual, comments.version[i])
        if leads:
            item_share = p
        if not votes(table, k, comments.author[i], step):
            continue
        passed, w = 0, 0.0
        if step > keys.step[k]:
            passed, w = begin_step(keys, k, step, p, usual, each)
        margin = 1.0 if usual.steps[2] > 0.0 else FIRST_DAY
        now = after_others(keys, k, bounded(bound * factor * margin), usual)
        keys.now[k, 0] += x
        keys.now[k, 1] += 1
        keys.now[k, 2] += x * x
        bet(keys, k, x, comments.at[i], now, passed, w)
        rise(keys, k, x, step, usual)
        keys.total[k] = mixed_evidence(keys, k, gate)
        excess = keys.total[k] - threshold
        kind = NONE
        if keys.status[k, 0] == FIRING:
            kind = in_incident(keys, k, x, now, passed > 0, excess, calm)
        else:
            learn(keys, k, x, p, factor, usual)
            if leads:
                learn_usual(keys, k, x, p, season, usual, comments.version[i], passed)
            enough = passes(keys.total, k, usual.crowd, threshold, least)
            if enough and keys.cusum[k].max() >= told.TENFOLD:
                fire(keys, k, excess)
                keys.status[k, 3] = mostly_volume(keys, k)
                kind = FIRED
        if kind:
            report(keys, k, kind, i, p, out)
            if kind == RESOLVED:
                close(keys, k)
            return j + 1, kind
    return len(slots), NONE
