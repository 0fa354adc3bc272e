"""Quality by what was known: how often an item was taken before, and how much a user had taken."""

from __future__ import annotations

from typing import Any

import numpy as np

from online.arrays import I32, I64
from online.prequential_metrics import clustered_error, gains, hits, mean, reciprocals
from online.prequential_stream import Stream

Groups = dict[str, tuple[float, float]]
OF_ITEMS: Groups = {"0": (0, 0), "1-4": (1, 4), "5-19": (5, 19), "20+": (20, np.inf)}
OF_USERS: Groups = {"0": (0, 0), "1-2": (1, 2), "3-7": (3, 7), "8+": (8, np.inf)}


def by_events(stream: Stream, ranks: I32) -> dict[str, dict[str, dict[str, Any]]]:
    """Metrics of the last half by the earlier interactions of the item, and of the user.

    Args:
        ranks: int32[n], 1-based; rank 0 was not evaluated and is left out.
    """
    return {
        "by_item_events": _groups(earlier(stream.items), OF_ITEMS, ranks, stream.users),
        "by_user_events": _groups(earlier(stream.users), OF_USERS, ranks, stream.users),
    }


def earlier(keys: I32) -> I64:
    """How often the key of each interaction came before; int64[n]."""
    order = np.argsort(keys, kind="stable")
    ordered = keys[order]
    first = np.searchsorted(ordered, ordered, side="left")
    counts = np.empty(len(keys), np.int64)
    counts[order] = np.arange(len(keys)) - first
    return counts


def _groups(counts: I64, groups: Groups, ranks: I32, users: I32) -> dict[str, dict[str, Any]]:
    half = len(ranks) // 2
    counts, ranks, users = counts[half:], ranks[half:], users[half:]
    found = {}
    for name, (fewest, most) in groups.items():
        inside = (counts >= fewest) & (counts <= most) & (ranks > 0)
        r, u = ranks[inside], users[inside]
        values = {
            "hr10": mean(hits(r)),
            "ndcg10": mean(gains(r)),
            "mrr20": mean(reciprocals(r)),
            "hr10_se": clustered_error(hits(r), u),
            "ndcg10_se": clustered_error(gains(r), u),
        }
        found[name] = {"n": len(r)} | {k: round(v, 6) for k, v in values.items()}
    return found
