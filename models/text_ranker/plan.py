"""How a text ranker is trained."""

from __future__ import annotations

from msgspec import Struct


class Plan(Struct, frozen=True):
    """How to train.

    Attributes:
        layers: upper layers of the trunk that are trained, 0: the projection alone.
        width: of a vector; tokens: of a text.
        passes: over the items' texts, at most; patience: passes without a gain until it stops.
        texts: read in a step; pairs: of a step, at most.
        hard: negatives of a pair that are sought out, of the `band` nearest to the user.
        strength: α of the correction (`losses`).
        rate, projection_rate, decay: of AdamW; sharpness: factor of the cosines at first.
        thinning: share of a text's tokens that a step leaves out.
    """

    layers: int = 3
    width: int = 128
    tokens: int = 32
    passes: int = 12
    patience: int = 3
    texts: int = 128
    pairs: int = 1_024
    hard: int = 0
    band: int = 100
    strength: float = 0.0
    rate: float = 3e-4
    projection_rate: float = 5e-4
    decay: float = 0.01
    sharpness: float = 10.0
    thinning: float = 0.1
    seed: int = 0
