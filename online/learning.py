"""The kernels that go over interactions: rank, then learn."""

from __future__ import annotations

from typing import NamedTuple

from online import blend as bl
from online import candidates as ca
from online import content as ct
from online import cooccurrence as co
from online import factors as fa
from online import guard as gu
from online import histories as hi
from online import popularity as po
from online import scoring as sc
from online.arrays import F64, I32, I64, LANES, U8
from online.held import Held
from online.kernels import kernel, leaf

MISS = bl.MISS
SCAN_UP_TO, FACTORS, BLEND = 0, 1, 2  # switches


class Model(NamedTuple):
    """Everything that the learner shares among its partitions.

    Attributes:
        rates: float64[2], of the factors and of the blend.
        switches: int64[3], items up to which all are scanned, FACTORS and BLEND on or off.
        clock: int64[1], interactions learned.
    """

    available: U8
    pairs: co.Pairs
    popularity: po.Popularity
    factors: fa.Factors
    blend: bl.Blend
    guard: gu.Guard
    content: ct.Content
    scratch: sc.Scratch
    rates: F64
    switches: I64
    clock: I64


class Events(NamedTuple):
    """Interactions of one partition, in order.

    Attributes:
        users: int64[n]; items: int32[n], slots; item -1 was refused.
        kinds: int64[n].
        hashes: int64[n], of the user ids.
        ranks, popularity_ranks: int32[n], filled in.
    """

    users: I64
    items: I32
    kinds: I64
    hashes: I64
    ranks: I32
    popularity_ranks: I32

    def between(self, start: int, end: int) -> Events:
        """Views of the interactions from `start` to before `end`."""
        if start == 0 and end >= len(self.users):
            return self
        return Events(
            self.users[start:end],
            self.items[start:end],
            self.kinds[start:end],
            self.hashes[start:end],
            self.ranks[start:end],
            self.popularity_ranks[start:end],
        )


@kernel()
def learn_events(
    n: int, held: Held, h: hi.Histories, counts: I32, longest: int, events: Events, first: int
) -> int:
    """Rank, then learn, interactions from `first` on.

    Returns:
        The first interaction not learned: len(users), or where some array needs to grow or a
        history has reached `longest`.
    """
    m: Model = held.model
    for e in range(first, len(events.users)):
        user, item, kind = events.users[e], events.items[e], events.kinds[e]
        if item < 0:
            events.ranks[e] = 0 if kind == hi.NEGATIVE else MISS
            events.popularity_ranks[e] = events.ranks[e]
            continue
        if h.length[user] >= longest:
            return e
        if not hi.has_room(h, user):
            return e
        count, disliked = find_context(m.scratch, h, user)
        if kind != hi.NEGATIVE:
            if not co.has_room(m.pairs, m.scratch.context, count, item):
                return e
            co.prefetch_entries(m.pairs, m.scratch.context, count, item)
            if m.switches[BLEND]:
                _rank(n, m, h, events, e, count, disliked)
            _learn(m, events, e, count)
        hi.append(h, user, item, kind, m.clock[0])
        counts[kind, item] += 1
        po.tick(m.popularity)
        m.clock[0] += 1
    return len(events.users)


@leaf()
def find_context(s: sc.Scratch, h: hi.Histories, user: int) -> tuple[int, int]:
    """Fill s.context and s.dislikes from the user's history; their sizes."""
    s.mark[0] += 1
    mark = s.mark[0]
    disliked = hi.find_disliked(h, user, s.disliked, mark, s.dislikes)
    return hi.find_context(h, user, s.disliked, s.listed, mark, s.context), disliked


@leaf()
def by_scan(m: Model) -> bool:
    """Whether all items are scored, not candidates only.

    By the items that were taken so far, not by those that have a slot: those of a batch that is
    being learned have theirs in advance, and a list must not depend on where a batch ends.
    """
    return bool(max(m.popularity.met[0], m.content.state[ct.TOP]) <= m.switches[SCAN_UP_TO])


@leaf()
def to_scan(n: int, m: Model) -> int:
    """Of n items those that may be listed: up to the last one known, to the next full lane."""
    known = max(m.popularity.met[0], m.content.state[ct.TOP])
    return int(min(n, max(1, -(-known // LANES)) * LANES))


@leaf()
def score_user(
    n: int, m: Model, h: hi.Histories, user: int, count: int, disliked: int, scan: bool
) -> int:
    """Blended scores for a user whose context is found and whose items are marked as seen.

    Returns:
        How many are scored: places are slots, or, where not `scan`, those of the pool.
    """
    s = m.scratch
    if scan:
        sc.score_catalogue(n, count, m.pairs, m.popularity, m.factors, m.content, s)
    else:
        n = sc.score_candidates(
            h, user, count, m.available, m.pairs, m.popularity, m.factors, m.content, s
        )
    bl.blend_scores(n, m.blend, m.content, bl.bucket_of(h.length[user]), s)
    finish(n, m, disliked, scan)
    return n


@kernel()
def score_alone(n: int, m: Model, feature: int, disliked: int, scan: bool) -> None:
    """Scores by one feature alone, after `score_user`."""
    m.scratch.scores[:n] = m.scratch.features[feature, :n]
    finish(n, m, disliked, scan)


@leaf()
def finish(n: int, m: Model, disliked: int, scan: bool) -> None:
    """Weigh down what is near the user's dislikes; what cannot be listed gets no score."""
    s = m.scratch
    if not scan:
        if disliked:
            sc.weigh_down_candidates(
                n, s.dislikes, disliked, m.available, m.pairs, m.popularity, m.factors, s
            )
        return
    if disliked:
        sc.weigh_down_neighbours(n, s.dislikes, disliked, m.pairs, m.popularity, s)
    bl.mask(n, m.available, m.popularity, m.content, s, s.mark[0])


@leaf()
def _rank(
    n: int, m: Model, h: hi.Histories, events: Events, e: int, count: int, disliked: int
) -> None:
    s, user, item = m.scratch, events.users[e], events.items[e]
    mark = s.mark[0]
    hi.mark_seen(h, user, s.seen, mark)
    if s.seen[item] == mark:  # he has it: not evaluated
        events.ranks[e] = 0
        events.popularity_ranks[e] = 0
        return
    events.ranks[e] = MISS
    unknown = m.popularity.counts[item] <= 0 and m.content.listed[item] == 0
    if unknown or m.available[item] == 0:
        events.popularity_ranks[e] = MISS
        return
    scan = by_scan(m)
    n = to_scan(n, m)
    scored = score_user(n, m, h, user, count, disliked, scan)
    if scan:
        place = item
        popularity_rank = bl.count_rank(n, m.available, m.popularity, s, mark, item)
    else:
        place = ca.place_of(item, mark, s.pool)
        popularity_rank = bl.count_rank_by_leaders(n, m.available, m.popularity, s, mark, item)
    events.popularity_ranks[e] = popularity_rank
    if place >= 0 and not s.scores[place] <= bl.MASKED:
        events.ranks[e] = _foresee(scored, m, bl.bucket_of(h.length[user]), place, disliked, scan)


@leaf()
def _foresee(n: int, m: Model, bucket: int, place: int, disliked: int, scan: bool) -> int:
    """The rank of what came, among n scored; the blend and its guard learn from it."""
    s = m.scratch
    rank: int = bl.rank_of(n, s.scores, place)
    lead = gu.leader(m.guard, bucket)
    gu.watch(m.guard, bucket, n, s.features, s.scores, place, rank)
    foreseen = rank
    if lead >= 0:
        foreseen = min(rank, gu.rank_alone(n, s.features[lead], s.scores, place))
    if foreseen <= bl.LEARN_FROM_RANK:
        bl.learn_weights(n, m.blend, m.content, bucket, s, place, m.rates[1])
    if lead >= 0:
        score_alone(n, m, lead, disliked, scan)
        rank = bl.rank_of(n, s.scores, place)
    return rank


@leaf()
def _learn(m: Model, events: Events, e: int, count: int) -> None:
    item, kind, context = events.items[e], events.kinds[e], m.scratch.context
    halves = co.HALVES[kind]
    far = m.switches[FACTORS] and not by_scan(m)  # what is scanned lies in the caches
    if far:
        fa.prefetch_steps(m.factors, count)
    co.add_interaction(m.pairs, context, count, item, halves)
    if m.switches[FACTORS]:
        if far:
            fa.prefetch_replay(m.factors, count)
        fa.push(m.factors, item, context, count, events.hashes[e])
        if count > 0:
            fa.step(m.factors, item, context, count, m.rates[0] * 0.5 * halves)
        fa.replay(m.factors, m.rates[0])
    po.add_count(m.popularity, item, halves)
    po.add_fading(m.popularity, item, halves, m.clock[0], m.clock[0])
