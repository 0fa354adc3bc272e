"""Content reasons: which listed items are there for what they say, and near what of the user's."""

from __future__ import annotations

import numpy as np

from online.arrays import I32, I64
from online.candidates import MARKS, OUTSIDE
from online.content import NEAREST, ON
from online.held import Held
from online.histories import Histories
from online.kernels import kernel
from online.learning import Model, find_context
from online.pairs import CONTENT_PRIOR, DECAY, TRANSITIONS


@kernel()
def led_by_content(held: Held, h: Histories, users: I64, items: I32, found: I64, by: I32) -> bool:
    """by[a, at] = the item of the user's that items[a, at] is near to, by what both say.

    Of items with fewer than μ_c interactions only, where content weighs more than behaviour; of
    the user's items the one with the largest .8^k q(i|h_k).

    Args:
        items: int32[n, K], lists of the users, int64[n]; found: int64[n], how long they are.
        by: int32[n, K], -1 where there is none.

    Returns:
        Whether there is any.
    """
    m: Model = held.model
    any_led = False
    if m.content.state[ON]:
        for a in range(len(users)):
            any_led |= _led(m, h, users[a], items[a], found[a], by[a])
    return any_led


@kernel()
def _led(m: Model, h: Histories, user: int, items: I32, found: int, by: I32) -> bool:
    s, c = m.scratch, m.content
    count, _ = find_context(s, h, user)
    base, place, nearest, few = s.mark[0] * MARKS, s.pool.place, s.weights, False
    for at in range(min(found, OUTSIDE)):
        if m.popularity.counts[items[at]] < CONTENT_PRIOR:
            place[items[at]] = base + at
            nearest[at] = 0
            few = True
    if not few:
        return False
    any_led, decay = False, np.float32(1)
    for k in range(min(count, TRANSITIONS)):
        mine = s.context[k]
        for e in range(NEAREST):
            i = c.near[mine, e]
            if i < 0:
                break
            at = place[i] - base
            if at >= 0:
                x = np.float32(c.cosine[mine, e])
                q = decay * x * x * x / c.total[mine]
                if q > nearest[at]:
                    nearest[at], by[at], any_led = q, mine, True
        decay *= np.float32(DECAY)
    return any_led
