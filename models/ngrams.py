"""The n-gram expert: a linear model over hashed words and Han characters, singly, in twos, threes.

It reads what a small trunk overlooks (a product's own words), was trained on every row, costs some
30 µs a comment, and is added to the trunk's logits: z = t · (z_trunk + w · z_ngrams), with w and t
fitted on rows that neither has seen (stacking, Wolpert 1992; t is Guo's temperature, 1706.04599).
The longer a text, the less its sum is trusted (`registry.Stack`): grams that overlap say the same.

Kept small to travel with the adapter: the grams that say most, their weights in four bits. A gram
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
from models.registry import Stack

BITS, KEPT, LONGEST = 24, 640_000, 3
LARGEST = 7  # step of a weight in four bits
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
        weights: int8[grams, labels], steps of -7 to 7; their squares with the sign kept, times
            `scale`, are the logits of a gram; for sentiment in the order of `LABELS`. Even steps
            would round the many small weights of three-class rows away.
        bias: float32[labels].
        exact: float32[grams, labels], the logits as trained, for a table that is not kept.
    """

    def __init__(
        self,
        kept: NDArray[np.int64],
        weights: NDArray[np.int8],
        scale: float,
        bias: NDArray[np.float32],
        exact: NDArray[np.float32] | None = None,
    ) -> None:
        self.kept = kept
        self.weights = weights
        self.scale = scale
        self.bias = bias
        steps = (weights * np.abs(weights)).astype(np.float32)
        self._logits = steps * np.float32(scale) if exact is None else exact

    def logits(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Logits [texts, labels] of cleaned texts; without a known gram the bias alone."""
        return self.read(texts)[0]

    def trusted(self, texts: Sequence[str], stack: Stack) -> NDArray[np.float32]:
        """What joins the trunk's logits, [texts, labels]."""
        logits, grams = self.read(texts)
        return stack.trust(grams) * logits

    def read(self, texts: Sequence[str]) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Logits [texts, labels] of cleaned texts, and how many grams each has."""
        found = np.tile(self.bias, (len(texts), 1))
        counts = np.zeros(len(texts), np.int64)
        for row, text in enumerate(texts):
            grams = buckets(text)
            at = np.minimum(np.searchsorted(self.kept, grams), len(self.kept) - 1)
            found[row] += self._logits[at[self.kept[at] == grams]].sum(axis=0)
            counts[row] = len(grams)
        return found, counts

    def tensors(self) -> dict[str, NDArray[Any]]:
        """What a file keeps: the kept buckets (`_as_gaps`); weights, two to a byte, without the
        second label's where it has none; scale and bias; rows of the form (-w, 0, …, 0, w) by w
        alone, marked in `opposed`.
        """
        opposed = self.weights[:, 0] == -self.weights[:, -1]
        opposed &= ~self.weights[:, 1:-1].any(axis=1)
        whole = self.weights[~opposed]
        if len(self.bias) > 1 and not whole[:, 1].any():
            whole = np.delete(whole, 1, axis=1)
        return {
            **_as_gaps(self.kept),
            "opposed": np.packbits(opposed),
            "last": _in_halves(self.weights[opposed, -1]),
            "weights": _in_halves(whole.ravel()),
            "scale": np.array([self.scale], np.float32),
            "bias": self.bias,
        }

    @classmethod
    def of(cls, tensors: Mapping[str, NDArray[Any]], path: Path) -> NGrams:
        """The table of `tensors`, which came from `path`.

        Raises:
            ArtifactError: other arrays, or of other shapes.
        """
        try:
            kept, bias = _from_gaps(tensors["gaps"], tensors["rests"]), tensors["bias"]
            short = np.unpackbits(tensors["opposed"], count=len(kept)).astype(bool)
            last, whole = _from_halves(tensors["last"]), _from_halves(tensors["weights"])
            weights = _with_opposed(short, last, whole, len(bias))
            table = cls(kept, weights, float(tensors["scale"][0]), bias)
        except KeyError as missing:
            raise ArtifactError(f"{path} lacks {missing}: train the artifact again") from None
        except (IndexError, ValueError):
            raise ArtifactError(f"{path} has weights of another shape: train it again") from None
        if not len(kept):
            raise ArtifactError(f"{path} has no gram: train the artifact again")
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
            ArtifactError: the file cannot be read, or has other arrays.
        """
        from safetensors import SafetensorError
        from safetensors.numpy import load_file

        try:
            return cls.of(load_file(path), path)
        except (OSError, SafetensorError) as error:
            raise ArtifactError(f"{path} cannot be read: {error}") from None


def _as_gaps(kept: NDArray[np.int64]) -> dict[str, NDArray[np.uint8]]:
    """Numbers in rising order by their gaps (Rice's code): `gaps` has each gap's upper bits as so
    many ones and a zero, `rests` the lower bits of all of them, the i-th bits together."""
    gaps = np.diff(kept, prepend=0)
    low = max(0, int(np.log2(max(1.0, float(gaps.mean())))))
    ends = np.cumsum((gaps >> low) + 1) - 1
    ones = np.ones(int(ends[-1]) + 1, np.uint8)
    ones[ends] = 0
    rests = [np.packbits((gaps >> bit & 1).astype(np.uint8)) for bit in range(low)]
    width = (len(kept) + 7) // 8
    return {
        "gaps": np.packbits(np.append(ones, np.ones(-len(ones) % 8, np.uint8))),
        "rests": np.array(rests, np.uint8).reshape(low, width),
    }


def _from_gaps(gaps: NDArray[np.uint8], rests: NDArray[np.uint8]) -> NDArray[np.int64]:
    """The numbers."""
    ends = np.flatnonzero(np.unpackbits(gaps) == 0)
    found = np.diff(ends, prepend=-1) - 1 << len(rests)
    for bit, packed in enumerate(rests):
        found |= np.unpackbits(packed, count=len(ends)).astype(np.int64) << bit
    return np.cumsum(found)


def _in_halves(weights: NDArray[np.int8]) -> NDArray[np.uint8]:
    """Two to a byte, as w + 8; a last half is 0."""
    halves = np.append((weights + 8).astype(np.uint8), np.zeros(len(weights) % 2, np.uint8))
    packed: NDArray[np.uint8] = halves[::2] * np.uint8(16) + halves[1::2]
    return packed


def _from_halves(packed: NDArray[np.uint8]) -> NDArray[np.int8]:
    """The weights."""
    halves = np.column_stack([packed >> 4, packed & 15]).ravel()
    return halves[halves > 0].astype(np.int8) - np.int8(8)  # 0 is no weight


def _with_opposed(
    short: NDArray[np.bool_], last: NDArray[np.int8], whole: NDArray[np.int8], labels: int
) -> NDArray[np.int8]:
    """Weights int8[grams, labels] of the rows kept whole and of those kept by their last weight.

    Raises:
        ValueError: they do not fit together.
    """
    weights = np.zeros((len(short), labels), np.int8)
    weights[short, 0], weights[short, -1] = -last, last
    if rows := int(np.sum(~short)):
        whole = whole.reshape(rows, -1)
        if whole.shape[1] < labels:
            whole = np.insert(whole, 1, 0, axis=1)
        weights[~short] = whole
    elif len(whole):
        raise ValueError("weights of no gram")
    return weights
