"""Content reasons: which listed items are there for what they say, and near what of the user's."""

from __future__ import annotations

import numpy as np

from online.arrays import I32, I64
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
    count, _ = find_context(m.scratch, h, user)
    context, c, any_led = m.scratch.context, m.content, False
    for at in range(found):
        if m.popularity.counts[items[at]] >= CONTENT_PRIOR:
            continue
        best, decay = np.float32(0), np.float32(1)
        for k in range(min(count, TRANSITIONS)):
            mine = context[k]
            for e in range(NEAREST):
                if c.near[mine, e] == items[at]:
                    x = np.float32(c.cosine[mine, e])
                    q = decay * x * x * x / c.total[mine]
                    if q > best:
                        best, any_led = q, True
                        by[at] = mine
            decay *= np.float32(DECAY)
    return any_led
