"""Configuration of the learner: sizes and rates."""

from __future__ import annotations

from typing import Literal

import msgspec

Compared = Literal["both", "tfidf", "raw", "whitened", "half-whitened", "none"]
STATISTICS = ("popularity", "recency", "transitions")
COMPONENTS = (*STATISTICS, "factors", "blend")


class LearnerConfig(msgspec.Struct, frozen=True):
    """Sizes and rates. The rates are one setting for every data set.

    Attributes:
        factors: d, width of the embeddings.
        negatives: sampled per step.
        max_history: interactions kept of a user; beyond it the oldest quarter leaves history and
            statistics, the latest dislikes excepted.
        seed: of the embeddings' start values, the negatives and the replays.
        max_users: beyond it those silent longest are dropped, with their statistics.
        max_items: beyond it new items are refused and counted, until states are loaded again: then
            those taken longest ago make room (see `online.crowding`).
        max_pairs: pair entries (12 bytes each); beyond it the weakest go (see `online.reclaiming`).
        recent: interactions that negatives and replays are drawn from.
        scan_up_to: items; in a larger catalogue lists and ranks look at candidates only.
        components: what is on: STATISTICS at least. Without the blend nothing is ranked while it
            is learned, and the weights stay as they are.
        compared: what two items have in common by content: "both" the TF-IDF of words and tags and
            the half-whitened embedding, or one of them; "raw", "whitened": the embedding otherwise;
            "none": nothing.

    Raises:
        ValueError: a component is unknown, or one of STATISTICS is missing.
    """

    factors: int = 64
    negatives: int = 64
    max_history: int = 4096
    seed: int = 0
    max_users: int = 1_000_000
    max_items: int = 100_000
    max_pairs: int = 40_000_000
    recent: int = 65_536
    factor_rate: float = 0.1
    blend_rate: float = 0.005
    scan_up_to: int = 9_000
    components: tuple[str, ...] = COMPONENTS
    compared: Compared = "both"

    def __post_init__(self) -> None:
        on = set(self.components)
        if not set(STATISTICS) <= on <= set(COMPONENTS):
            raise ValueError(
                f"components are {', '.join(STATISTICS)} and, if wanted, factors and blend"
            )
