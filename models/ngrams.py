"""The n-gram expert: a linear model over hashed words and Han characters, singly, in twos, threes.

It reads what a small trunk overlooks (a product's own words), was trained on every row, costs some
30 µs a comment, and is added to the trunk's logits: z = t · (z_trunk + w · z_ngrams), with w and t
fitted on rows that neither has seen (stacking, Wolpert 1992; t is Guo's temperature, 1706.04599).

Kept small to travel with the adapter: the grams that say most, their weights in eight bits. A gram
that only two-class rows had is one number, for positive as much as against negative.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.errors import ArtifactError

BITS, KEPT, LONGEST = 24, 270_000, 3
MORE = 255  # a gap goes on in the next byte
TOKEN = re.compile(r"[a-z0-9']+|[^\sa-z0-9']")
MIX = np.uint64(0x9E3779B97F4A7C15)  # 2^64 / golden ratio: Knuth's multiplicative hashing


def buckets(text: str) -> NDArray[np.int64]:
    """The buckets, below 2^24, of a text's grams, each once and in order: int64[grams]."""
    tokens = TOKEN.findall(text.lower())
    first = np.array([zlib.crc32(token.encode()) for token in tokens], dtype=np.uint64)
    grams = [first]
    for size in range(2, LONGEST + 1):
        if len(first) >= size:
            rolled = first[: len(first) - size + 1]
            for at in range(1, size):
                rolled = rolled * MIX + first[at : len(first) - size + 1 + at]
            grams.append(rolled * np.uint64(size))
    mixed = np.concatenate(grams) * MIX >> np.uint64(64 - BITS)
    return np.unique(mixed.astype(np.int64))


def softmax(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """Probabilities [rows, labels] of logits [rows, labels]."""
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    shares: NDArray[np.float32] = powers / powers.sum(axis=1, keepdims=True)
    return shares


class NGrams:
    """A trained table.

    Args:
        kept: int64[grams], buckets in rising order.
        weights: int8[grams, labels], times `scale` the logits of a gram; for sentiment in the order
            of `LABELS`.
        bias: float32[labels].
    """

    def __init__(
        self,
        kept: NDArray[np.int64],
        weights: NDArray[np.int8],
        scale: float,
        bias: NDArray[np.float32],
    ) -> None:
        self.kept = kept
        self.weights = weights
        self.scale = scale
        self.bias = bias
        self._logits = weights.astype(np.float32) * np.float32(scale)

    def logits(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Logits [texts, labels] of cleaned texts; without a known gram the bias alone."""
        found = np.tile(self.bias, (len(texts), 1))
        for row, text in enumerate(texts):
            grams = buckets(text)
            at = np.minimum(np.searchsorted(self.kept, grams), len(self.kept) - 1)
            found[row] += self._logits[at[self.kept[at] == grams]].sum(axis=0)
        return found

    def tensors(self) -> dict[str, NDArray[Any]]:
        """What a file keeps: gaps between the kept buckets, a byte each and one more for every 255;
        weights, without the second label's where it has none; scale and bias; rows of the form
        (-w, 0, …, 0, w) by w alone, marked in `opposed`.
        """
        opposed = self.weights[:, 0] == -self.weights[:, -1]
        opposed &= ~self.weights[:, 1:-1].any(axis=1)
        whole = self.weights[~opposed]
        if len(self.bias) > 1 and not whole[:, 1].any():
            whole = np.delete(whole, 1, axis=1)
        return {
            "gaps": _in_bytes(np.diff(self.kept, prepend=0)),
            "opposed": np.packbits(opposed),
            "last": np.ascontiguousarray(self.weights[opposed, -1]),
            "weights": np.ascontiguousarray(whole),
            "scale": np.array([self.scale], np.float32),
            "bias": self.bias,
        }

    @classmethod
    def of(cls, tensors: Mapping[str, NDArray[Any]], path: Path) -> NGrams:
        """The table of `tensors`, which came from `path`; older ones have every weight and gap.

        Raises:
            ArtifactError: other arrays, or of other shapes.
        """
        try:
            kept, weights = _from_bytes(tensors["gaps"]), tensors["weights"]
            if "opposed" in tensors:
                if weights.shape[1] < len(tensors["bias"]):
                    weights = np.insert(weights, 1, 0, axis=1)
                weights = _with_opposed(weights, tensors["last"], tensors["opposed"], len(kept))
            table = cls(kept, weights, float(tensors["scale"][0]), tensors["bias"])
        except KeyError as missing:
            raise ArtifactError(f"{path} lacks {missing}: train the artifact again") from None
        except (IndexError, ValueError):
            raise ArtifactError(f"{path} has weights of another shape: train it again") from None
        if table.weights.shape != (len(kept), len(table.bias)) or not len(kept):
            raise ArtifactError(f"{path} has weights of another shape: train the artifact again")
        return table

    def save(self, path: Path) -> None:
        """Write a safetensors file."""
        from safetensors.numpy import save_file

        save_file(self.tensors(), path)
        path.chmod(0o644)  # safetensors makes files that only their owner can read

    @classmethod
    def load(cls, path: Path) -> NGrams:
        """Read what `save` wrote.

        Raises:
            ArtifactError: the file has other arrays.
        """
        from safetensors.numpy import load_file

        return cls.of(load_file(path), path)


def _in_bytes(gaps: NDArray[np.int64]) -> NDArray[np.uint8]:
    whole, rest = np.divmod(gaps, MORE)
    found = np.full(int(whole.sum()) + len(gaps), MORE, np.uint8)
    found[np.cumsum(whole + 1) - 1] = rest
    return found


def _from_bytes(gaps: NDArray[Any]) -> NDArray[np.int64]:
    """The kept buckets."""
    places = np.cumsum(gaps.astype(np.int64))
    return places[gaps != MORE] if gaps.dtype == np.uint8 else places


def _with_opposed(
    whole: NDArray[np.int8], last: NDArray[np.int8], opposed: NDArray[np.uint8], count: int
) -> NDArray[np.int8]:
    """Weights int8[count, labels] of the rows kept whole and of those kept by their last weight."""
    short = np.unpackbits(opposed, count=count).astype(bool)
    weights = np.zeros((count, whole.shape[1]), np.int8)
    weights[~short] = whole
    weights[short, 0], weights[short, -1] = -last, last
    return weights
