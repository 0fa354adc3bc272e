"""The kernel that lists users: the best candidates of each, by the blend and declared interests."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from online import blend as bl
from online import candidates as ca
from online import guard as gu
from online import histories as hi
from online import scoring as sc
from online.arrays import F32, F64, I32, I64
from online.content_reasons import led_by_content
from online.held import Held
from online.kernels import kernel
from online.learning import Model, by_scan, find_context, score_alone, score_user, to_scan
from online.topk import select


class Asked(NamedTuple):
    """Users of one partition whose lists are asked for.

    Attributes:
        users: int64[n].
        wanted: int32[m], what the users' interests are about, one user's after the other's; of one
            at most 384, and one may repeat; weights: float32[m].
        ends: int64[n], where in `wanted` a user's end.
        fades: float64[n], how much they count, see `interests`.
        found: int64[n], items of the list, filled in.
        by: int32[n, K], filled in: of what is listed for what it says, the item of the user's that
            it is near to, see `content_reasons`; elsewhere left as it is.
    """

    users: I64
    wanted: I32
    weights: F32
    ends: I64
    fades: F64
    found: I64
    by: I32


@kernel()
def list_users(n: int, held: Held, h: hi.Histories, asked: Asked, items: I32, best: F32) -> bool:
    """The best candidates of users into `items` and `best`, a row each, one after the other.

    Returns:
        Whether anything stands in `asked.by`.
    """
    m: Model = held.model
    start, any_led = 0, False
    for a in range(len(asked.users)):
        wanted, weights = asked.wanted[start : asked.ends[a]], asked.weights[start : asked.ends[a]]
        count, disliked = find_context(m.scratch, h, asked.users[a])
        asked.found[a] = _list_user(
            n, m, h, asked.users[a], count, disliked, wanted, weights, asked.fades[a], items[a],
            best[a],
        )  # fmt: skip
        any_led |= led_by_content(m, count, items[a], asked.found[a], asked.by[a])
        start = asked.ends[a]
    return any_led


@kernel()
def _list_user(
    n: int, m: Model, h: hi.Histories, user: int, count: int, disliked: int, wanted: I32,
    weights: F32, fade: float, items: I32, best: F32,
) -> int:  # fmt: skip
    s = m.scratch
    hi.mark_seen(h, user, s.seen, s.mark[0])
    scan = by_scan(m)
    n = to_scan(n, m)
    s.pool.wanted[: len(wanted)] = wanted
    s.pool.wants[0] = len(wanted)
    scored = score_user(n, m, h, user, count, disliked, scan)
    s.pool.wants[0] = 0
    if not scan and scored < len(items):  # too few candidates for so long a list
        scan = True
        scored = score_user(n, m, h, user, count, disliked, scan)
    lead = gu.leader(m.guard, bl.bucket_of(h.length[user]))
    if lead >= 0:
        score_alone(scored, m, lead, disliked, scan)
    if len(wanted):
        _add_interests(scored, s, wanted, weights, fade, scan)
    found: int = select(scored, s.scores, items, best)
    if not scan:
        for at in range(found):
            items[at] = s.pool.slots[items[at]]
    return found


@kernel()
def _add_interests(
    scored: int, s: sc.Scratch, wanted: I32, weights: F32, fade: float, scan: bool
) -> None:
    """scores += fade · log(1 + 30 w / max w), w summed over the repeats in `wanted`."""
    most = np.float32(0)
    for at in range(len(wanted)):
        s.c_sum[wanted[at]] = 0
    for at in range(len(wanted)):
        s.c_sum[wanted[at]] += weights[at]
        most = max(most, s.c_sum[wanted[at]])
    for item in wanted:
        place = item if scan else ca.place_of(item, s.mark[0], s.pool)
        if 0 <= place < scored:
            s.scores[place] += np.float32(fade * np.log(1 + 30 * s.c_sum[item] / most))
            s.c_sum[item] = 0
