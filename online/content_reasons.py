"""Content reasons: which listed items are there for what they say, and near what of the user's."""

from __future__ import annotations

import numpy as np

from online.arrays import I32
from online.content import NEAREST, ON
from online.kernels import kernel
from online.learning import Model
from online.pairs import CONTENT_PRIOR, DECAY, TRANSITIONS
from online.pool import MARKS, OUTSIDE


@kernel()
def led_by_content(m: Model, count: int, items: I32, found: int, by: I32) -> bool:
    """by[at] = the item of the user's that items[at] is near to, by what both say.

    Of items with fewer than μ_c interactions only, where content weighs more than behaviour; of
    the user's items the one with the largest .8^k q(i|h_k).

    Args:
        count: items of the user's context in the scratch, from which the list was made.
        items: int32[K], the list, of which the first `found` count.
        by: int32[K], left as it is where there is none.

    Returns:
        Whether there is any.
    """
    s, c = m.scratch, m.content
    if c.state[ON] == 0:
        return False
    s.mark[0] += 1  # the candidates' places are of the mark before
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
