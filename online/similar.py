"""Similar items: by what users took near an item and, while few did, by what the items say.

    x_i = (n c_i + μ_c q(i|item)) / (n + μ_c),   c_i ∝ C[item, i] · (n_i + 1)^-.3,  Σ c = Σ q = 1

n counts the item's interactions. Without content x is c: the recency co-occurrence.
"""

from __future__ import annotations

from online import blend as bl
from online import candidates as ca
from online import content as ct
from online import cooccurrence as co
from online.arrays import F32, I32
from online.kernels import kernel
from online.learning import Model, by_scan
from online.pairs import CONTENT_PRIOR
from online.pool import CAPACITY
from online.topk import select


@kernel()
def similar_items(n: int, m: Model, item: int, items: I32, best: F32) -> int:
    """The most similar items into `items` and `best`; how many."""
    s, c = m.scratch, m.content
    share = m.popularity.share[item] / co.SCALE
    s.context[0] = item
    if by_scan(m) or len(items) >= co.LEADERS:
        s.c_sum[:n] = 0
        s.q_sum[:n] = 0
        co.add_row(m.pairs, item, n, share, 0.0, s.c_sum, s.t_sum)
        if c.total[item] > 0:
            ct.add_to_all(c, s.context, 1, m.pairs.out, n, s.q_sum, s.t_sum)
        for i in range(n):
            s.c_sum[i] *= m.popularity.damp[i]
        _mix(n, m, item, s.c_sum, s.q_sum)
        for i in range(n):
            known = m.popularity.counts[i] > 0 or c.listed[i] != 0
            if i == item or m.available[i] == 0 or not known:
                s.scores[i] = bl.MASKED
        return int(select(n, s.scores, items, best))
    s.mark[0] += 1
    mark, pool = s.mark[0], s.pool
    s.seen[item] = mark
    pool.place[item] = ca.outside(mark)
    pool.size[0] = 0
    pool.wc[0], pool.wt[0] = share, 0.0
    ca.add_rows(
        s.context, 1, ca.FROM_ROWS, mark, m.available, m.pairs, m.popularity, m.factors, pool
    )
    pool.q_sum[: pool.size[0]] = 0
    if c.total[item] > 0:
        ct.add_to_pool(
            c, s.context, 1, CAPACITY, mark, s.seen, m.available, m.popularity.counts,
            m.pairs.out, pool,
        )  # fmt: skip
    size = pool.size[0]
    for a in range(size):
        pool.c_sum[a] *= m.popularity.damp[pool.slots[a]]
    _mix(size, m, item, pool.c_sum, pool.q_sum)
    found = select(size, s.scores, items, best)
    for at in range(found):
        items[at] = pool.slots[items[at]]
    return int(found)


@kernel()
def _mix(n: int, m: Model, item: int, near: F32, said: F32) -> None:
    """scores = x; MASKED where neither behaviour nor content says anything."""
    s, c = m.scratch, m.content
    total = 0.0
    for i in range(n):
        total += near[i]
    a, b = 1.0, 0.0
    if c.total[item] > 0:
        count = m.popularity.counts[item] if total > 0 else 0.0
        a = count / (count + CONTENT_PRIOR) / (total + 1e-12)
        b = CONTENT_PRIOR / (count + CONTENT_PRIOR)
    for i in range(n):
        x = a * near[i] + b * said[i]
        s.scores[i] = x if x > 0 else bl.MASKED
