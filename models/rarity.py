"""How much a token says: weights by which `/embed` averages a text's tokens.

Smooth inverse frequency (Arora, Liang, Ma, ICLR 2017): a / (a + p(token)). p is the tokenizer's
own, the unigram probability that SentencePiece fitted on a hundred languages (Kudo, 1804.10959), so
there is nothing to gather and nothing to fit. What frames a text, and the prefix of E5, are
frequent or have no probability of their own: next to nothing of them stays in the average.
"""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from models.errors import TrunkMissingError

# Chosen on BANKING77's training rows alone: those beyond the first ten of a category as queries.
SMOOTHING = 1e-5


class _Unigram(Struct, tag="Unigram"):
    """SentencePiece's unigram model: pieces with the logarithm of their probability, 0: special."""

    vocab: list[tuple[str, float]]


class _Model(Struct):
    type: str


class _Added(Struct):
    id: int


class _Known(Struct):
    model: _Unigram
    added_tokens: list[_Added] = []


class _Tokenizer(Struct):
    model: _Model


def token_weights(trunk: Path) -> NDArray[np.float32] | None:
    """Weight of each token id, float32[vocabulary]; None: the tokenizer knows no probabilities.

    Raises:
        TrunkMissingError: the trunk's tokenizer cannot be read.
    """
    path = trunk / "tokenizer.json"
    try:
        told = path.read_bytes()
        if msgspec.json.decode(told, type=_Tokenizer).model.type != "Unigram":
            return None
        known = msgspec.json.decode(told, type=_Known)
    except (OSError, msgspec.DecodeError) as error:
        raise TrunkMissingError(f"{path} cannot be read: {error}") from None
    tokens = max([len(known.model.vocab), *(each.id + 1 for each in known.added_tokens)])
    share = np.ones(tokens)  # what was added later has no probability of its own
    share[: len(known.model.vocab)] = np.exp([logarithm for _, logarithm in known.model.vocab])
    return (SMOOTHING / (SMOOTHING + share)).astype(np.float32)
