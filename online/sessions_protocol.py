"""The ADER protocol (Mi, Lin, Faltings, RecSys 2020), and two variants that learn more often.

For every period but the first: learn from what came before, test on every prefix of every session
of the period (its next item is the label), with the full catalogue ranked. Items not seen in
earlier periods are dropped, and with them sessions left with one item. The figures are means over
the periods, each of the same weight.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np
import numpy.typing as npt

from online.arrays import I32, I64
from online.sessions import Queries, SessionLearner
from online.sessions_stream import Prefixes, SessionStream, find_prefixes

Mode = Literal["frozen", "day", "event"]
LONGEST = 50  # visits of a session that count
WARM_FROM = 0.5  # of the first period, before its days train the blend


def block_ends(stream: SessionStream, mode: Mode) -> I64:
    """Where what came before is learned: int64[blocks], ascending, the last is len(stream).

    The first period is no test, so it may go by days in any mode: the blend's weights need them.
    """
    n = len(stream)
    if mode == "event":
        return np.arange(1, n + 1)
    new_period = stream.periods[1:] != stream.periods[:-1]
    new_day = new_period | (stream.days[1:] != stream.days[:-1])
    by_days = (stream.periods[1:] == stream.periods[:1]) if mode == "frozen" else True
    return np.append(np.flatnonzero(np.where(by_days, new_day, new_period)) + 1, n)


def evaluate_sessions(
    stream: SessionStream,
    learner: SessionLearner,
    mode: Mode,
    sample: int,
    progress: Callable[[int], None],
) -> dict[str, float]:
    """Run the protocol.

    Args:
        mode: frozen: learn between periods; day: between days; event: after every visit.
        sample: rank one prefix in so many.
        progress: called with the number of visits done since the last call.
    """
    prefixes = find_prefixes(stream)
    first = stream.periods[:1]
    asked = prefixes.counted & (prefixes.length > 0) & _sampled(len(stream), sample)
    asked &= np.arange(len(stream)) >= WARM_FROM * np.count_nonzero(stream.periods == first)
    ranks = np.zeros(len(stream), np.int32)
    allowed = np.zeros(len(stream.item_ids), np.uint8)
    begin = 0
    for end in block_ends(stream, mode).tolist():
        if begin and stream.periods[begin] != stream.periods[begin - 1]:
            allowed[stream.items[:begin]] = 1
        if begin and (mode != "frozen" or stream.periods[begin] != stream.periods[begin - 1]):
            learner.serve_newest_weights()
        which = begin + np.flatnonzero(asked[begin:end])
        ranks[which] = learner.rank(_queries(stream, prefixes, which), allowed)
        learner.learn(begin, end)
        progress(end - begin)
        begin = end
    return summarise(stream.periods, ranks, tested=asked & (stream.periods != first))


def _sampled(n: int, sample: int) -> npt.NDArray[np.bool_]:
    """One visit in `sample`, spread: 7919 is a prime, far from any period."""
    return np.equal((np.arange(n) * 7919 + 13) % sample, 0)


def _queries(stream: SessionStream, prefixes: Prefixes, which: I64) -> Queries:
    sessions, length = stream.sessions[which], prefixes.length[which]
    kept = np.minimum(length, LONGEST)
    start = stream.start[sessions] + length - kept
    return Queries(sessions, stream.items[which], start, kept, prefixes.items)


def summarise(periods: I64, ranks: I32, tested: npt.NDArray[np.bool_]) -> dict[str, float]:
    """Recall at 20 and 10 and MRR at 20: fractions, means over the periods."""
    found: list[tuple[float, ...]] = []
    for period in np.unique(periods[tested]):
        r = ranks[tested & (periods == period)].astype(np.float64)
        found.append(((r <= 20).mean(), ((r <= 20) / r).mean(), (r <= 10).mean()))
    means = np.mean(found, axis=0) if found else np.zeros(3)
    return dict(zip(("recall20", "mrr20", "recall10"), means.round(6).tolist(), strict=True))
