"""Scoring: the nine features of every item, or of every candidate, for one context.

Popularity, fading popularity with five half-lives, recency co-occurrence, smoothed transitions,
factors. Shares pass through a logarithm, because the blend is log-linear. The formulas are those of
`cooccurrence`, `popularity` and `factors`; the small terms keep an unseen pair above zero.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from online import candidates, popularity
from online import content as ct
from online.arrays import F32, F64, FAST, I32, I64, U8, grown
from online.cooccurrence import add_row
from online.factors import Factors, score_all, score_some, user_vector
from online.histories import CONTEXT, Histories, mark_seen
from online.kernels import kernel, leaf
from online.pairs import DECAY, SCALE, SMOOTHING, TRANSITIONS, Pairs, smoothed
from online.pool import CAPACITY, Pool, new_pool
from online.popularity import H20, H100, H700, H20000, Popularity

FEATURES = ("count", "h20", "h100", "h700", "h4000", "h20000", "recency", "transition", "factors")
COUNT, FADING, RECENCY, TRANSITION, FACTOR, CONTENT = 0, 1, 6, 7, 8, 9
FLOOR = 1e-6
NOTHING_OUTSIDE = np.zeros(2)
# The bits of a float32, read as an integer, are its log2 scaled by 2^23, linear inside an octave:
# a logarithm to .06 for the price of a multiplication (Schraudolph 1999).
LOG_SCALE = np.float32(8.2629582881927490e-8)
LOG_OFFSET = np.float32(-87.989971088)


class Scratch(NamedTuple):
    """Room to compute in, of one learner; nothing here is state.

    Attributes:
        seen, listed, disliked: int64[items], marks; mark: int64[1], the mark in use.
        context: int32[50], newest first; dislikes: int32[10].
        features: float32[9 + those of content, items]; scores, weights: float32[items].
        c_sum, t_sum, q_sum: float32[items].
        pool: candidates; they use places 0, 1, … of features, scores and weights.
    """

    seen: I64
    listed: I64
    disliked: I64
    mark: I64
    context: I32
    dislikes: I32
    features: F32
    scores: F32
    weights: F32
    c_sum: F32
    t_sum: F32
    q_sum: F32
    pool: Pool


def new_scratch(items: int) -> Scratch:
    """Room for `items`."""
    return Scratch(
        np.zeros(items, np.int64),
        np.zeros(items, np.int64),
        np.zeros(items, np.int64),
        np.zeros(1, np.int64),
        np.zeros(CONTEXT, np.int32),
        np.zeros(10, np.int32),
        np.zeros((len(FEATURES) + len(ct.FEATURES), items), np.float32),
        np.zeros(items, np.float32),
        np.zeros(items, np.float32),
        np.zeros(items, np.float32),
        np.zeros(items, np.float32),
        np.zeros(items, np.float32),
        new_pool(items),
    )


def with_items(s: Scratch, items: int) -> Scratch:
    """Room for more items."""
    return new_scratch(items)._replace(
        mark=s.mark,
        seen=grown(s.seen, items),
        listed=grown(s.listed, items),
        disliked=grown(s.disliked, items),
    )


@kernel()
def score_catalogue(
    n: int, count: int, pairs: Pairs, p: Popularity, f: Factors, c: ct.Content, s: Scratch
) -> None:
    """Fill s.features[:, :n] for the context s.context[:count]; n is a multiple of LANES."""
    _sum_rows(n, s.context, count, pairs, p, c.total, s)
    if c.state[ct.ON]:
        ct.add_to_all(c, s.context, count, pairs.out, n, s.q_sum, s.t_sum)
        _content(n, p, s.q_sum, ct.said_by(c, s.context, count), s.features[CONTENT])
    _statistics(n, count, pairs, p, c.total, s.c_sum, s.t_sum, NOTHING_OUTSIDE, s)
    user_vector(f, s.context, count)
    score_all(f, n, s.features[FACTOR])


@leaf()
def score_candidates(
    h: Histories, user: int, count: int, available: U8, pairs: Pairs, p: Popularity, f: Factors,
    c: ct.Content, s: Scratch,
) -> int:  # fmt: skip
    """Fill s.features[:, :n] for the n candidates of the context s.context[:count]; n."""
    pool, mark = s.pool, s.mark[0]
    candidates.prefetch_rows(s.context, count, pairs, p, f)
    mark_seen(h, user, pool.place, candidates.outside(mark))
    candidates.find(s.context, count, mark, s.seen, available, pairs, p, f, c.total, pool)
    if c.state[ct.ON]:
        ct.add_to_pool(
            c, s.context, count, CAPACITY, mark, s.seen, available, p.counts,
            pairs.out, pool,
        )  # fmt: skip
    n: int = candidates.gather(p, pool)
    theirs = Popularity(
        pool.counts, pool.damp, p.share, pool.fading, p.cards, p.total, p.step, p.counted,
        p.leaders, p.met,
    )  # fmt: skip
    if c.state[ct.ON]:
        _content(n, theirs, pool.q_sum, ct.said_by(c, s.context, count), s.features[CONTENT])
    _statistics(n, count, pairs, theirs, c.total, pool.c_sum, pool.t_sum, pool.outside, s)
    user_vector(f, s.context, count)
    score_some(f, n, pool.slots, s.features[FACTOR])
    return n


@kernel()
def _statistics(
    n: int, count: int, pairs: Pairs, p: Popularity, said: F32, c_sum: F32, t_sum: F32,
    outside: F64, s: Scratch,
) -> None:  # fmt: skip
    """The features of the statistics; `outside`: see Pool."""
    _popularity(n, p, s.features)
    _recency(n, p, c_sum, outside[0], s.features[RECENCY])
    mass = 0.0
    decay = 1.0
    for k in range(min(count, TRANSITIONS)):
        mass += decay * SMOOTHING / smoothed(pairs.out, said, s.context[k])
        decay *= DECAY
    _transition(n, p, t_sum, outside[1], mass, s.features[TRANSITION])


@kernel()
def _sum_rows(
    n: int, context: I32, count: int, pairs: Pairs, p: Popularity, said: F32, s: Scratch
) -> None:
    """c_sum = Σ .8^k n_h^-.7 C[h, ·]; t_sum = Σ .8^k T[h → ·] / (R_h + μ)."""
    s.c_sum[:n] = 0
    s.t_sum[:n] = 0
    decay = 1.0
    for k in range(count):
        h = context[k]
        wc = decay * p.share[h] / SCALE
        wt = decay / smoothed(pairs.out, said, h) / SCALE if k < TRANSITIONS else 0.0
        add_row(pairs, h, n, wc, wt, s.c_sum, s.t_sum)
        decay *= DECAY


@kernel(fastmath=FAST)
def _log_share(n: int, values: F32, scale: float, prior: F32, weight: float, out: F32) -> None:
    """out = log(values · scale + prior · weight + 1e-6)."""
    a, b = np.float32(scale), np.float32(weight)
    for i in range(n):
        out[i] = values[i] * a + prior[i] * b + np.float32(FLOOR)
    _log(n, out)


@kernel(fastmath=FAST)
def _log(n: int, out: F32) -> None:
    bits = out.view(np.int32)
    for i in range(n):
        out[i] = np.float32(bits[i]) * LOG_SCALE + LOG_OFFSET


@kernel(fastmath=FAST)
def _popularity(n: int, p: Popularity, features: F32) -> None:
    long = p.fading[H20000]
    per_long = 1.0 / (p.total[H20000] + 1e-9)
    per = np.float32(1.0 / (p.counted[0] + 1e-9))
    for i in range(n):
        features[COUNT, i] = np.float32(p.counts[i]) * per + np.float32(FLOOR)
    _log(n, features[COUNT])
    for c in range(len(popularity.HALF_LIVES)):
        prior = 0.1 * per_long if c in (H20, H100, H700) else 0.0
        share = 1.0 / (p.total[c] + 1e-9)
        _log_share(n, p.fading[c], share, long, prior, features[FADING + c])


@kernel(fastmath=FAST)
def _recency(n: int, p: Popularity, c_sum: F32, outside: float, out: F32) -> None:
    total = np.float32(0)
    for i in range(n):
        out[i] = c_sum[i] * p.damp[i]
        total += out[i]
    per = np.float32(1.0 / (total + outside + 1e-7 * p.counted[0] + 1e-9))
    weight = np.float32(0.02 / (p.total[H20000] + 1e-9))
    long = p.fading[H20000]
    for i in range(n):
        x = out[i] + np.float32(1e-7) * np.float32(p.counts[i])
        out[i] = x * per + long[i] * weight + np.float32(FLOOR)
    _log(n, out)


@kernel(fastmath=FAST)
def _transition(n: int, p: Popularity, t_sum: F32, outside: float, mass: float, out: F32) -> None:
    """The prior's mass goes to items by their popularity at half-life 700."""
    middle = p.fading[H700]
    weight = np.float32((mass + 1e-3) / (p.total[H700] + 1e-9))
    total = np.float32(0)
    for i in range(n):
        total += t_sum[i]
    per = np.float32(1.0 / (total + outside + mass + 1e-3 + 1e-8 * p.counted[0]))
    for i in range(n):
        x = t_sum[i] + middle[i] * weight + np.float32(1e-8) * np.float32(p.counts[i])
        out[i] = x * per + np.float32(FLOOR)
    _log(n, out)


@kernel(fastmath=FAST)
def _content(n: int, p: Popularity, q_sum: F32, total: float, out: F32) -> None:
    """log(share of q + .02 · popularity's share); 0 where the context's texts say nothing."""
    if total <= 0:
        out[:n] = 0
        return
    per = 1.0 / total
    _log_share(n, q_sum, per, p.fading[H20000], 0.02 / (p.total[H20000] + 1e-9), out)


@kernel(fastmath=FAST)
def exponentials(n: int, values: F32, at: float, out: F32) -> float:
    """out = exp(values − at), and their sum; the exponent is kept within −80 … 60.

    2^x = 2^⌊x⌋ · 2^(x − ⌊x⌋): the first factor is an exponent's bits, the second a polynomial, good
    to 5e-6. Unlike a library's exp it runs in vector lanes.
    """
    bits = out.view(np.int32)
    low, high = np.float32(-80), np.float32(60)
    for i in range(n):
        y = values[i] - np.float32(at)
        y = y if y > low else low
        y = (y if y < high else high) * np.float32(1.4426950409)
        k = np.int32(y + np.float32(128)) - np.int32(128)
        f = y - np.float32(k)
        p = np.float32(0.0555041087) + f * (np.float32(0.0096181291) + f * np.float32(0.00133336))
        p = np.float32(1) + f * (np.float32(0.6931471806) + f * (np.float32(0.2402265069) + f * p))
        bits[i] = np.int32((k + 127) << 23)
        out[i] *= p
    total = np.float32(0)
    for i in range(n):
        total += out[i]
    return float(total)


@kernel()
def weigh_down_neighbours(
    n: int, dislikes: I32, count: int, pairs: Pairs, p: Popularity, s: Scratch
) -> None:
    """scores[i] += log(1 − min(.9, Σ_d C[d, i] / √(n_d n_i))) over the user's newest dislikes d."""
    s.c_sum[:n] = 0
    for k in range(count):
        d = dislikes[k]
        wc = 1.0 / SCALE / np.sqrt(p.counts[d] + 1.0)
        add_row(pairs, d, n, wc, 0.0, s.c_sum, s.t_sum)
    _weigh_down(n, p.counts, s.c_sum, s.scores)


@leaf()
def weigh_down_candidates(
    n: int, dislikes: I32, count: int, available: U8, pairs: Pairs, p: Popularity, f: Factors,
    s: Scratch,
) -> None:  # fmt: skip
    """The same for the candidates."""
    pool = s.pool
    pool.c_sum[:n] = 0
    for k in range(count):
        d = dislikes[k]
        pool.wc[k] = 1.0 / SCALE / np.sqrt(p.counts[d] + 1.0)
        pool.wt[k] = 0.0
    candidates.add_rows(dislikes, count, 0, s.mark[0], available, pairs, p, f, pool)
    _weigh_down(n, pool.counts, pool.c_sum, s.scores)


@kernel()
def _weigh_down(n: int, counts: F64, near: F32, scores: F32) -> None:
    for i in range(n):
        x = near[i] / np.sqrt(np.float32(counts[i]) + np.float32(1))
        if x > 0:
            scores[i] += np.float32(np.log(1.0 - min(0.9, x)))
