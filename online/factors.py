"""Factors: implicit-feedback item embeddings, updated with every interaction.

A user is a function of his history, so his vector is never stale:

    x = Σ_{k<20} a_k · E_in[h_k]           score(i) = x · E_out[i] + b_i

Per interaction one sampled-softmax step (Jean et al. 2015) against negatives drawn from recent
interactions, and one replayed step on an earlier interaction. Row-wise Adagrad (rate / √G, one G
per row); a_k is learned too, with Adagrad .05.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from online.arrays import F32, FAST, I32, I64, U64, grown
from online.kernels import kernel, leaf
from online.prefetch import prefetch, prefetch_near, prefetch_row

STEP = np.uint64(0x9E3779B97F4A7C15)  # of the generator, from draw to draw
LENGTH = 20  # items of history that make the user
MIN_RECENT = 10  # interactions before the first replay
FIRST_G = np.float32(0.01)  # of a row that nothing has moved
GIVEN_G = np.float32(0.0101)  # of one that nothing has moved and whose start is better than chance


class Factors(NamedTuple):
    """Embeddings, their step sizes, and the recent interactions that negatives come from.

    Attributes:
        e_in: float32[items, d]; e_out: float32[items, d]; bias: float32[items].
        g_in, g_out: float32[items], sums of squared gradients.
        attention: float32[20], a_k; attention_g: float32[20].
        random: uint64[1], state of the generator (splitmix64).
        recent: int32[n], items of the latest interactions, a ring; -1 for what was forgotten.
        recent_context: int32[n, 20], what preceded them, newest first, -1 beyond the end.
        recent_user: int64[n], hash of the user, so that he can be forgotten here too.
        pushed: int64[1], interactions ever pushed into the ring.
        negatives: int32[1 + negatives], scratch; p: float32[1 + negatives], scratch.
        x, gradient: float32[d], scratch.
    """

    e_in: F32
    e_out: F32
    bias: F32
    g_in: F32
    g_out: F32
    attention: F32
    attention_g: F32
    random: U64
    recent: I32
    recent_context: I32
    recent_user: I64
    pushed: I64
    negatives: I32
    p: F32
    x: F32
    gradient: F32


def new_factors(items: int, d: int, negatives: int, recent: int, seed: int) -> Factors:
    """Start values: normal(0, .1), seeded, the same for an item slot whenever it comes."""
    empty = Factors(
        np.zeros((0, d), np.float32),
        np.zeros((0, d), np.float32),
        np.zeros(0, np.float32),
        np.zeros(0, np.float32),
        np.zeros(0, np.float32),
        (0.8 ** np.arange(LENGTH)).astype(np.float32),
        np.zeros(LENGTH, np.float32),
        np.array([seed], np.uint64),
        np.full(recent, -1, np.int32),
        np.full((recent, LENGTH), -1, np.int32),
        np.zeros(recent, np.int64),
        np.zeros(1, np.int64),
        np.zeros(1 + negatives, np.int32),
        np.zeros(1 + negatives, np.float32),
        np.zeros(d, np.float32),
        np.zeros(d, np.float32),
    )
    return with_items(empty, items, seed)


def with_items(f: Factors, items: int, seed: int) -> Factors:
    """Room for more items. Rows are drawn in blocks of 64, each from a generator of its own."""
    have, d = f.e_in.shape
    e_in, e_out = grown(f.e_in, items), grown(f.e_out, items)
    for block in range(have, items, 64):
        rows = min(64, items - block)
        drawn = np.random.default_rng((seed, block)).normal(0, 0.1, (2, 64, d)).astype(np.float32)
        e_in[block : block + rows] = drawn[0, :rows]
        e_out[block : block + rows] = drawn[1, :rows]
    g_in, g_out = grown(f.g_in, items), grown(f.g_out, items)
    g_in[have:] = g_out[have:] = FIRST_G
    return f._replace(e_in=e_in, e_out=e_out, bias=grown(f.bias, items), g_in=g_in, g_out=g_out)


@kernel()
def draw(state: U64, n: int) -> int:
    """A random number below n (splitmix64)."""
    state[0] += STEP
    drawn: int = below(state[0], n)
    return drawn


@kernel()
def below(z: np.uint64, n: int) -> int:
    """The number below n that a state of the generator stands for."""
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    z = z ^ (z >> np.uint64(31))
    return int((z >> np.uint64(1)) % np.uint64(n))


@kernel(fastmath=FAST)
def dot(a: F32, b: F32) -> np.float32:
    """a · b."""
    total = np.float32(0)
    for f in range(len(a)):
        total += a[f] * b[f]
    return total


@kernel(fastmath=FAST)
def user_vector(f: Factors, context: I32, count: int) -> None:
    """f.x = Σ_k a_k · E_in[h_k]."""
    f.x[:] = 0
    for k in range(min(count, LENGTH)):
        a, row = f.attention[k], f.e_in[context[k]]
        for c in range(len(f.x)):
            f.x[c] += a * row[c]


@kernel(fastmath=FAST)
def score_all(f: Factors, n: int, out: F32) -> None:
    """out[i] = x · E_out[i] + b_i; all zero where anything is not finite."""
    total = np.float32(0)
    for i in range(n):
        out[i] = dot(f.x, f.e_out[i]) + f.bias[i]
        total += abs(out[i])
    if not math.isfinite(total):
        out[:n] = 0


@kernel(fastmath=FAST)
def score_some(f: Factors, n: int, items: I32, out: F32) -> None:
    """out[a] = x · E_out[items[a]] + b; all zero where anything is not finite."""
    total = np.float32(0)
    for a in range(n):
        i = items[a]
        out[a] = dot(f.x, f.e_out[i]) + f.bias[i]
        total += abs(out[a])
    if not math.isfinite(total):
        out[:n] = 0


@kernel()
def push(f: Factors, item: int, context: I32, count: int, user: int) -> None:
    """Remember an interaction for negatives and replays."""
    at = f.pushed[0] % len(f.recent)
    f.recent[at] = item
    for k in range(LENGTH):
        f.recent_context[at, k] = context[k] if k < count else -1
    f.recent_user[at] = user
    f.pushed[0] += 1


@leaf()
def prefetch_steps(f: Factors, count: int) -> None:
    """Ask for the negatives of the next interaction, with `count` items before it, and its replay.

    What will be drawn is known: the generator only counts.
    """
    window = min(f.pushed[0] + 1, len(f.recent))
    state, drawn = f.random[0], len(f.p) - 1
    steps = drawn if count > 0 else 0
    for q in range(steps + 1 + drawn):
        state += STEP
        if q == steps:  # which one is replayed
            continue
        j = f.recent[below(state, window)]
        prefetch_row(f.e_out, j)
        prefetch_near(f.g_out, j)
        prefetch_near(f.bias, j)
    prefetch(f.recent_context, replayed(f, count) * LENGTH)
    prefetch(f.recent_context, replayed(f, count) * LENGTH + LENGTH - 1)


@leaf()
def prefetch_replay(f: Factors, count: int) -> None:
    """Ask for the items before the interaction that will be replayed."""
    at = replayed(f, count)
    for k in range(LENGTH):
        h = f.recent_context[at, k]
        prefetch_row(f.e_in, h)
        prefetch_near(f.g_in, h)


@leaf()
def replayed(f: Factors, count: int) -> int:
    """Where in the ring the interaction is that will be replayed after the next one."""
    drawn = len(f.p) if count > 0 else 1
    state = f.random[0] + np.uint64(drawn) * STEP
    back = 1 + below(state, min(max(f.pushed[0], 1), len(f.recent) - 1))
    return int((f.pushed[0] - back) % len(f.recent))


@kernel()
def replay(f: Factors, rate: float) -> None:
    """One step on a random earlier interaction."""
    if f.pushed[0] <= MIN_RECENT:
        return
    back = 1 + draw(f.random, min(f.pushed[0] - 1, len(f.recent) - 1))
    at = (f.pushed[0] - 1 - back) % len(f.recent)
    count = 0
    while count < LENGTH and f.recent_context[at, count] >= 0:
        count += 1
    if f.recent[at] >= 0 and count > 0:
        step(f, f.recent[at], f.recent_context[at], count, rate)


@kernel(fastmath=FAST)
def step(f: Factors, target: int, context: I32, count: int, rate: float) -> None:
    """One sampled-softmax step towards `target`, given the context of `count` > 0 items."""
    count = min(count, LENGTH)
    user_vector(f, context, count)
    _softmax(f, target)
    d = len(f.x)
    f.gradient[:] = 0
    norm = dot(f.x, f.x) / d + 1
    for q in range(len(f.p)):
        j = f.negatives[q]
        g = (1 if q == 0 else 0) - f.p[q]
        row = f.e_out[j]
        f.g_out[j] += g * g * norm
        r = np.float32(rate / math.sqrt(f.g_out[j] + 1e-4))
        for c in range(d):
            f.gradient[c] += g * row[c]
            row[c] += r * (g * f.x[c] - np.float32(1e-5) * row[c])
        f.bias[j] += r * g
    squared = dot(f.gradient, f.gradient) / d
    for k in range(count):
        h, a = context[k], f.attention[k]
        row = f.e_in[h]
        along = dot(f.gradient, row)
        f.attention_g[k] += along * along
        moved = a + np.float32(0.05) * along / math.sqrt(f.attention_g[k] + 1.0)
        f.attention[k] = max(moved, 1e-3)
        f.g_in[h] += a * a * squared
        r = np.float32(rate * a / math.sqrt(f.g_in[h] + 1e-4))
        for c in range(d):
            row[c] += r * f.gradient[c] - np.float32(1e-6) * row[c]


@kernel(fastmath=FAST)
def _softmax(f: Factors, target: int) -> None:
    """Draw negatives; f.p = softmax over the target (place 0) and them."""
    f.negatives[0] = target
    window = min(f.pushed[0], len(f.recent))
    for q in range(1, len(f.p)):
        j = f.recent[draw(f.random, window)]
        f.negatives[q] = j if j >= 0 else target
    top = np.float32(-1e30)
    for q in range(len(f.p)):
        j = f.negatives[q]
        v = np.float32(-1e30) if q > 0 and j == target else dot(f.x, f.e_out[j]) + f.bias[j]
        f.p[q] = v
        top = max(top, v)
    total = np.float32(0)
    for q in range(len(f.p)):
        f.p[q] = math.exp(max(f.p[q] - top, np.float32(-30)))
        total += f.p[q]
    for q in range(len(f.p)):
        f.p[q] /= total
