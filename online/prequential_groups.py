"""Quality by what was known: how often an item was taken before, and how much a user had taken."""

from __future__ import annotations

from typing import Any

import numpy as np

from online.arrays import I32, I64
from online.prequential_metrics import gains, hits, mean, reciprocals
from online.prequential_stream import Stream

GROUPS = {"0": (0, 0), "1-4": (1, 4), "5-19": (5, 19), "20+": (20, np.inf)}


def by_events(stream: Stream, ranks: I32) -> dict[str, dict[str, dict[str, Any]]]:
    """Metrics of the last half by the earlier interactions of the item, and of the user.

    Args:
        ranks: int32[n], 1-based; rank 0 was not evaluated and is left out.
    """
    return {
        "by_item_events": _groups(earlier(stream.items), ranks),
        "by_user_events": _groups(earlier(stream.users), ranks),
    }


def earlier(keys: I32) -> I64:
    """How often the key of each interaction came before; int64[n]."""
    order = np.argsort(keys, kind="stable")
    ordered = keys[order]
    first = np.searchsorted(ordered, ordered, side="left")
    counts = np.empty(len(keys), np.int64)
    counts[order] = np.arange(len(keys)) - first
    return counts


def _groups(counts: I64, ranks: I32) -> dict[str, dict[str, Any]]:
    half = len(ranks) // 2
    counts, ranks = counts[half:], ranks[half:]
    found = {}
    for name, (fewest, most) in GROUPS.items():
        r = ranks[(counts >= fewest) & (counts <= most) & (ranks > 0)]
        found[name] = {
            "n": len(r),
            "hr10": round(mean(hits(r)), 6),
            "ndcg10": round(mean(gains(r)), 6),
            "mrr20": round(mean(reciprocals(r)), 6),
        }
    return found
