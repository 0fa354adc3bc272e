"""Whether a text ranker may serve: does the learner's prequential NDCG rise with its vectors?

Measured on the events that stopped its training, which no weight of it was fitted to and no test
needs: the learner runs up to their end, with the frozen vectors and with the ranker's, every event
ranked before it is learned. It rises where the gain is more than its standard error, paired by
event and clustered by user.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from infra.settings import UserError
from online.prequential import Springtide, evaluate
from online.prequential_groups import OF_ITEMS, earlier
from online.prequential_items import Publisher
from online.prequential_metrics import clustered_error, gains, hits, mean
from online.prequential_stream import Stream

if TYPE_CHECKING:
    from models.text_ranker.artifact import Manifest
    from online.content_items import ItemContent

Progress = Callable[[int], None]


def measured_on(stream: Stream, manifest: Manifest) -> tuple[Stream, int]:
    """The stream up to what the ranker may have seen, and where what it was not fitted to begins.

    Raises:
        UserError: no event lies between.
    """
    end = int(np.sum(stream.times <= manifest.seen_until))
    first = int(np.sum(stream.times <= manifest.trained_until))
    if first >= end:
        raise UserError("no event of this file is of the time that stopped the ranker's training")
    arrays = (stream.users[:end], stream.items[:end], stream.times[:end])
    return Stream(stream.user_ids, stream.item_ids, *arrays, stream.repeats), first


def compare(
    stream: Stream, first: int, frozen: ItemContent, ranked: ItemContent, progress: Progress
) -> dict[str, Any]:
    """Both runs, from event `first` on: by the item's earlier events, and `rises`."""
    ranks = [
        evaluate(stream, Springtide(stream, None, Publisher(stream, items, False)), progress).ranks[
            first:
        ]
        for items in (frozen, ranked)
    ]
    users, counts = stream.users[first:], earlier(stream.items)[first:]
    groups = {"all": np.ones(len(users), bool)}
    groups |= {
        name: (counts >= fewest) & (counts <= most) for name, (fewest, most) in OF_ITEMS.items()
    }
    found: dict[str, Any] = {"events": len(users)}
    for name, inside in groups.items():
        before, after = (each[inside] for each in ranks)
        gained = gains(after) - gains(before)
        found[name] = {
            "n": int(inside.sum()),
            "frozen": {"hr10": mean(hits(before)), "ndcg10": mean(gains(before))},
            "text-ranker": {"hr10": mean(hits(after)), "ndcg10": mean(gains(after))},
            "gained_ndcg10": mean(gained),
            "gained_ndcg10_se": clustered_error(gained, users[inside]),
        }
    found["rises"] = found["all"]["gained_ndcg10"] > found["all"]["gained_ndcg10_se"]
    return found
