"""Tied item embeddings for sessions on large catalogues: E_in = E_out.

    x = Σ_{k<12} a_k · E[h_k]           score(i) = x · E[i] + b_i

A small catalogue has enough interactions for two tables (`online.factors`); on a large one most
items are rare, and one table learns twice as much about each. One sampled-softmax step a visit,
negatives drawn from recent visits, row-wise Adagrad with a sum of squares for either role of a row.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from online.arrays import F32, FAST, I32, I64, U64
from online.factors import dot, draw
from online.kernels import kernel
from online.sessions_index import SessionIndex

LENGTH = 12  # items of a session that make its vector
WINDOW = 300_000  # recent visits that negatives and rehearsals come from
REHEARSED = 0.3  # share of the steps that go to visits before the newest block


class TiedFactors(NamedTuple):
    """Embeddings and their step sizes.

    Attributes:
        e: float32[items, d]; bias: float32[items].
        g_in, g_out: float32[items], sums of squared gradients as history and as target.
        attention, attention_g: float32[12].
        random: uint64[1], state of the generator.
        negatives: int32[1 + negatives]; p: float32[1 + negatives]; x, gradient: float32[d]; all
            four are scratch.
    """

    e: F32
    bias: F32
    g_in: F32
    g_out: F32
    attention: F32
    attention_g: F32
    random: U64
    negatives: I32
    p: F32
    x: F32
    gradient: F32


def new_tied_factors(items: int, d: int, negatives: int, seed: int) -> TiedFactors:
    """Start values: normal(0, .1), seeded."""
    return TiedFactors(
        np.random.default_rng(seed).normal(0, 0.1, (items, d)).astype(np.float32),
        np.zeros(items, np.float32),
        np.full(items, 0.01, np.float32),
        np.full(items, 0.01, np.float32),
        (0.75 ** np.arange(LENGTH)).astype(np.float32),
        np.zeros(LENGTH, np.float32),
        np.array([seed], np.uint64),
        np.zeros(1 + negatives, np.int32),
        np.zeros(1 + negatives, np.float32),
        np.zeros(d, np.float32),
        np.zeros(d, np.float32),
    )


@kernel(fastmath=FAST)
def session_vector(f: TiedFactors, prefix: I32, x: F32) -> None:
    """x = Σ_k a_k · E[h_k]; the prefix is oldest first."""
    x[:] = 0
    for k in range(min(len(prefix), LENGTH)):
        a, row = f.attention[k], f.e[prefix[len(prefix) - 1 - k]]
        for c in range(len(x)):
            x[c] += a * row[c]


@kernel()
def learn_block(
    f: TiedFactors,
    index: SessionIndex,
    sessions: I32,
    items: I32,
    position: I32,
    begin: int,
    end: int,
    steps: int,
    rate: float,
) -> None:
    """`steps` steps on visits of the block [begin, end), some on older ones, lest they be lost.

    The visits are in `index` already; `sessions`, `items` and `position` hold the whole stream.
    """
    older = max(0, begin - WINDOW)
    recent: I32 = items[max(0, end - WINDOW) : end]
    for _ in range(steps):
        if begin == older or draw(f.random, 1000) >= 1000 * REHEARSED:
            e = begin + draw(f.random, end - begin)
        else:
            e = older + draw(f.random, begin - older)
        start = index.start[sessions[e]]
        step(f, items[e], index.items[start : start + position[e]], recent, rate)


@kernel(fastmath=FAST)
def step(f: TiedFactors, target: int, prefix: I32, recent: I32, rate: float) -> None:
    """One step towards `target` after `prefix`, against negatives from `recent`."""
    count = min(len(prefix), LENGTH)
    if count == 0:
        return
    d = len(f.x)
    session_vector(f, prefix, f.x)
    _softmax(f, target, recent)
    f.gradient[:] = 0
    norm = dot(f.x, f.x) / d + np.float32(1)
    for q in range(len(f.p)):
        j = f.negatives[q]
        g = (np.float32(1) if q == 0 else np.float32(0)) - f.p[q]
        row = f.e[j]
        f.g_out[j] += g * g * norm
        r = np.float32(rate) * g / np.float32(math.sqrt(f.g_out[j] + np.float32(1e-4)))
        for c in range(d):
            f.gradient[c] += g * row[c]
            row[c] += r * f.x[c]
        f.bias[j] += r
    squared = dot(f.gradient, f.gradient) / d
    for k in range(count):
        h, a = prefix[len(prefix) - 1 - k], f.attention[k]
        row = f.e[h]
        along = dot(f.gradient, row)
        f.attention_g[k] += along * along
        moved = a + np.float32(0.05) * along / math.sqrt(f.attention_g[k] + np.float32(1))
        f.attention[k] = max(moved, np.float32(1e-3))
        f.g_in[h] += a * a * squared
        r = np.float32(rate) * a / np.float32(math.sqrt(f.g_in[h] + np.float32(1e-4)))
        for c in range(d):
            row[c] += r * f.gradient[c]


@kernel(fastmath=FAST)
def _softmax(f: TiedFactors, target: int, recent: I32) -> None:
    """Draw negatives; f.p = softmax over the target (place 0) and them."""
    f.negatives[0] = target
    top = np.float32(-1e30)
    for q in range(len(f.p)):
        j = f.negatives[q] = target if q == 0 else recent[draw(f.random, len(recent))]
        v = np.float32(-1e30) if q > 0 and j == target else dot(f.x, f.e[j]) + f.bias[j]
        f.p[q] = v
        top = max(top, v)
    total = np.float32(0)
    for q in range(len(f.p)):
        f.p[q] = math.exp(max(f.p[q] - top, np.float32(-30)))
        total += f.p[q]
    for q in range(len(f.p)):
        f.p[q] /= total


@kernel(fastmath=FAST)
def session_vectors(f: TiedFactors, items: I32, starts: I64, lengths: I32, out: F32) -> None:
    """out[b] = the vector of the session whose prefix is items[start : start + length]."""
    for b in range(len(starts)):
        session_vector(f, items[starts[b] : starts[b] + lengths[b]], out[b])
