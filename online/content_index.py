"""Content index: who is nearest to whom, kept both ways while items arrive and change.

An arriving item is held against all others once: it gets its 50 nearest, and enters the lists of
those to which it is nearer than somebody there. IDF and axes are made anew whenever the catalogue
has grown by a tenth; with each arrival one older item's list is made anew, too, so that no list
stays as a young catalogue saw it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from online.arrays import F32, F64, I32, I64, grown
from online.config import Compared
from online.content import Content
from online.content_axes import HALF, WHOLE, Axes
from online.content_similarity import (
    Vectors,
    cosines,
    leave,
    new_vectors,
    place,
    renew,
    weigh,
    with_items,
)
from online.content_terms import BUCKETS

GROWN = 1.1
AT_LEAST = 16  # items more, before everything is made anew
AXES_FROM = 512  # embeddings; until then they are kept whole: axes of few leave out what matters
POWERS = {"both": HALF, "half-whitened": HALF, "whitened": WHOLE, "raw": 0.0}
NO_TERMS: I32 = np.zeros(0, np.int32)
FEWEST = 2  # items that share a term, or it says nothing


class ContentIndex:
    """Keeps the posting lists of a `Content`; the same calls make the same lists.

    Args:
        items: to have room for.
        compared: see `LearnerConfig.compared`.

    Attributes:
        changes: how often items said something new.
    """

    def __init__(self, items: int, compared: Compared = "both") -> None:
        self._compared = compared
        self._v: Vectors = new_vectors(items)
        self._similar: F32 = np.zeros(items, np.float32)
        self._df: I32 = np.zeros(BUCKETS, np.int32)
        self._axes: Axes | None = None
        self._whole: dict[int, F32] = {}
        self._counted = np.zeros(items, bool)
        self.changes = 0
        self._documents = 0
        self._fitted = -AT_LEAST
        self._end = 0  # of the terms in use
        self._top = 0
        self._turn = 0

    @property
    def nbytes(self) -> int:
        """Bytes that grow with the number of items."""
        v = self._v
        by_item = (v.placed, v.start, v.room, v.size, v.norm, v.dense, v.unit, v.inverse)
        return sum(array.nbytes for array in by_item) + v.terms.nbytes + self._counted.nbytes

    @property
    def with_embedding(self) -> int:
        """Items that have an embedding."""
        return int(np.count_nonzero(self._v.inverse))

    def reserve(self, items: int) -> None:
        """Room for more items."""
        if items > len(self._similar):
            self._v = with_items(self._v, items)
            self._similar = np.zeros(items, np.float32)
            self._counted = grown(self._counted, items)

    def put(
        self, c: Content, slots: I64, terms: Sequence[I32], embeddings: F32 | None = None
    ) -> None:
        """Take over what items say, in place of what they said before.

        Args:
            slots: int64[n], different ones; terms: of each, see `content_terms.terms_of`.
            embeddings: float32[n, d]; a row of zeros is none.

        Raises:
            ValueError: the embeddings have another width than those before, or are not finite.
        """
        if self._compared not in POWERS:
            embeddings = None
        if self._compared not in {"both", "tfidf"}:
            terms = [NO_TERMS] * len(slots)
        if embeddings is not None:
            self._check(embeddings)
        self.changes += 1
        for slot in slots.tolist():
            leave(self._top, slot, self._v, c)
        for slot, each in zip(slots.tolist(), terms, strict=True):
            self._write(slot, each)
        self._top = max(self._top, int(slots.max(initial=-1)) + 1)
        if embeddings is not None:
            self._count(slots, embeddings)
        self._documents = int(np.count_nonzero((self._v.size > 0) | self._counted))
        if self._documents >= max(GROWN * self._fitted, self._fitted + AT_LEAST):
            self._fit()
        weigh(slots, self._v)
        if embeddings is not None:
            self._encode(slots, embeddings)
        for slot in slots.tolist():
            if self._v.norm[slot] > 0 or self._v.inverse[slot] > 0:
                place(self._top, slot, self._v, c, self._similar)
                self._renew_one(c)

    def like(self, terms: I32) -> F32:
        """TF-IDF cosines of a text's terms with all items; float32[items], of those that came."""
        found = np.zeros(self._top, np.float32)
        if len(terms):
            cosines(terms, self._v, found)
        return found

    def _check(self, embeddings: F32) -> None:
        if not np.isfinite(embeddings).all():
            raise ValueError("an embedding is not finite")
        if self._axes is None:
            self._axes = Axes(embeddings.shape[1], POWERS[self._compared])
            shape = (len(self._similar), self._axes.width)
            self._v = self._v._replace(dense=np.zeros(shape, np.int8))
        if embeddings.shape[1] != self._axes.d:
            raise ValueError(f"an embedding is {embeddings.shape[1]} wide, others {self._axes.d}")

    def _write(self, slot: int, terms: I32) -> None:
        """Replace an item's terms and count them."""
        v = self._v
        old = v.terms[v.start[slot] : v.start[slot] + v.size[slot]]
        self._df[old & (BUCKETS - 1)] -= 1
        self._df[terms & (BUCKETS - 1)] += 1
        n = len(terms)
        if n > v.room[slot]:
            if self._end + n > len(v.terms):
                size = max(self._end + n, len(v.terms) * 5 // 4)
                v = self._v = v._replace(terms=grown(v.terms, size))
            v.start[slot], v.room[slot] = self._end, n
            self._end += n
        v.terms[v.start[slot] : v.start[slot] + n] = terms
        v.size[slot] = n

    def _count(self, slots: I64, embeddings: F32) -> None:
        """Count embeddings once an item: one that changes often must not turn the axes."""
        assert self._axes is not None
        real = embeddings.any(axis=1)
        first = real & ~self._counted[slots]
        small = self._axes.count < AXES_FROM
        self._axes.add(embeddings[first])
        self._counted[slots[first]] = True
        if small:
            self._whole |= dict(zip(slots[real].tolist(), embeddings[real], strict=True))

    def _fit(self) -> None:
        """New idf and axes; everything is put on them."""
        self._fitted = self._documents
        shared = self._df >= FEWEST
        idf = np.log((1 + self._documents) / (1 + self._df)) + 1
        self._v.idf[:] = np.where(shared, idf, 0)
        weigh(np.arange(self._top), self._v)
        if self._axes is None or not self._axes.count:
            return
        turn, offset = self._axes.fit()
        v, at = self._v, np.flatnonzero(self._v.inverse[: self._top])
        self._store(at, (v.dense[at] * v.unit[at, None]) @ turn + offset)
        if self._whole:
            whole = np.array(list(self._whole))
            self._store(whole, self._axes.project(np.stack(list(self._whole.values()))))
        if self._axes.count >= AXES_FROM:
            self._whole.clear()

    def _encode(self, slots: I64, embeddings: F32) -> None:
        assert self._axes is not None
        self._v.inverse[slots] = 0
        real = embeddings.any(axis=1)
        self._store(slots[real], self._axes.project(embeddings[real]))

    def _store(self, slots: I64, coordinates: F32 | F64) -> None:
        """Round coordinates to eight bits."""
        v = self._v
        unit = np.maximum(np.abs(coordinates).max(axis=1, initial=0), 1e-20) / 127
        rounded = np.rint(coordinates / unit[:, None]).astype(np.int8)
        v.dense[slots] = rounded
        v.unit[slots] = unit
        length = np.linalg.norm(rounded.astype(np.float32), axis=1)
        v.inverse[slots] = np.where(length > 0, 1 / np.maximum(length, 1), 0)

    def _renew_one(self, c: Content) -> None:
        """Make the list of the next item in turn anew."""
        for _ in range(8):  # most slots have content; a gap is passed slowly
            self._turn = (self._turn + 1) % self._top
            if self._v.placed[self._turn]:
                renew(self._top, self._turn, self._v, c, self._similar)
                return
