"""Content index: who is nearest to whom, kept both ways while items arrive and change.

An arriving item is held against all others once: it gets its 50 nearest, and enters the lists of
those to which it is nearer than somebody there. IDF and axes are made anew whenever the catalogue
has grown by a tenth; with each arrival one older item's list is made anew, too, so that no list
stays as a young catalogue saw it. What takes long here changes nothing that learning and listing
look at, so that it may run beside them, in a thread: one item after the other.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import numpy.typing as npt

from online.arrays import F32, F64, I32, I64, U8, grown
from online.config import Compared
from online.content import Content
from online.content_axes import HALF, WHOLE, Axes
from online.content_similarity import (
    Survey,
    Vectors,
    cosines,
    new_survey,
    new_vectors,
    settle,
    settle_own,
    survey,
    survey_own,
    weigh,
    with_items,
)
from online.content_terms import BUCKETS
from online.steps import Steps

GROWN = 1.1
AT_LEAST = 4  # items more, before everything is made anew
AXES_FROM = 768  # embeddings; until then they are kept whole: axes of few leave out what matters
POWERS = {"both": HALF, "half-whitened": HALF, "whitened": WHOLE, "raw": 0.0}
NO_TERMS: I32 = np.zeros(0, np.int32)
FEWEST = 2  # items that share a term, or it says nothing
ASIDE_FROM = 4_096  # items; with less a thread costs as much as it spares the others

Contents = Callable[[], Content]  # the one in use: it is another one whenever the items have grown


class ContentIndex:
    """Keeps the posting lists of a `Content`; the same calls make the same lists.

    Args:
        items: to have room for.
        compared: see `LearnerConfig.compared`.

    Attributes:
        changes: how often items said something new.
        turned: how often axes were made of embeddings.
    """

    def __init__(self, items: int, compared: Compared = "both") -> None:
        self._compared = compared
        self._v: Vectors = new_vectors(items)
        self._survey: Survey = new_survey(items)
        self._wanted = items
        self._df: I32 = np.zeros(BUCKETS, np.int32)
        self._axes: Axes | None = None
        self._whole: dict[int, F32] = {}
        self._counted = np.zeros(items, bool)
        self.changes = self.turned = 0
        self._documents = 0
        self._fitted = -AT_LEAST
        self._end = 0  # of the terms in use
        self._top = 0
        self._turn = 0

    @property
    def nbytes(self) -> int:
        """Bytes that grow with the number of items."""
        v = self._v
        by_item = (v.placed, v.script, v.start, v.room, v.size, v.norm, v.dense, v.unit, v.inverse)
        return sum(array.nbytes for array in by_item) + v.terms.nbytes + self._counted.nbytes

    @property
    def with_embedding(self) -> int:
        """Items that have an embedding."""
        return int(np.count_nonzero(self._v.inverse))

    def embedded(self, slots: I64) -> npt.NDArray[np.bool_]:
        """Which of the items have an embedding; bool[n]."""
        inverse = self._v.inverse
        known = slots < len(inverse)
        known[known] = inverse[slots[known]] > 0
        return known

    def directions(self, slots: I64) -> F32:
        """Coordinates of items that have an embedding on the axes, of length 1; float32[n, width].

        As they were rounded to be compared.
        """
        return self._v.dense[slots] * self._v.inverse[slots, None]

    def reserve(self, items: int) -> None:
        """Room for more items, from the next `putting` on: a thread may be at work here."""
        self._wanted = max(self._wanted, items)

    def _make_room(self) -> None:
        if self._wanted > len(self._counted):
            self._v = with_items(self._v, self._wanted)
            self._survey = new_survey(self._wanted)
            self._counted = grown(self._counted, self._wanted)

    def forget_embeddings(self) -> None:
        """Those of another model follow. The lists stay as they are until items come again."""
        self._axes = None
        self.turned = 0
        self._whole.clear()
        self._counted[:] = False
        v = self._v
        v.inverse[:] = 0
        self._v = v._replace(dense=np.zeros((len(v.placed), 0), np.int8))

    def putting(
        self,
        content: Contents,
        slots: I64,
        terms: Sequence[I32],
        embeddings: F32 | None = None,
        scripts: U8 | None = None,
    ) -> Steps:
        """Take over what items say, in place of what they said before; one call after the other.

        Args:
            slots: int64[n], different ones; terms: of each, see `content_terms.terms_of`.
            embeddings: float32[n, d]; a row of zeros is none. None: they stay as they are.
            scripts: uint8[n], see `content_terms.script_of`; None: all the same.

        Raises:
            ValueError: the embeddings have another width than those before, or are not finite.
        """
        self._make_room()
        if self._compared not in POWERS:
            embeddings = None
        if self._compared not in {"both", "tfidf"}:
            terms = [NO_TERMS] * len(slots)
        if embeddings is not None:
            self._check(embeddings)
        self.changes += 1
        if scripts is not None:
            self._v.script[slots] = scripts
        for slot, each in zip(slots.tolist(), terms, strict=True):
            self._write(slot, each)
        self._top = max(self._top, int(slots.max(initial=-1)) + 1)
        if embeddings is not None:
            self._count(slots, embeddings)
        self._documents = int(np.count_nonzero((self._v.size > 0) | self._counted))
        if self._documents >= max(GROWN * self._fitted, self._fitted + AT_LEAST):
            # An eigendecomposition takes as long for few items as for many.
            yield from self._beside(self._fit, long=self._axes is not None)
        weigh(slots, self._v)
        if embeddings is not None:
            self._encode(slots, embeddings)
        for slot in slots.tolist():
            yield from self._place(content, slot)

    def _place(self, content: Contents, slot: int) -> Steps:
        v, s = self._v, self._survey
        says = bool(v.norm[slot] > 0 or v.inverse[slot] > 0)
        if not says and not v.placed[slot]:
            return
        yield from self._beside(partial(survey, self._top, slot, v, content(), s))
        settle(slot, says, v, content(), s)
        if says and (older := self._next_in_turn()) >= 0:
            yield from self._beside(partial(survey_own, self._top, older, v, s))
            settle_own(older, content(), s)

    def _beside(self, work: Callable[[], None], long: bool = False) -> Steps:
        """Long work in a thread, short work here."""
        if self._top < ASIDE_FROM and not long:
            work()
            yield None
        else:
            yield work

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
            shape = (len(self._counted), self._axes.width)
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
        self._axes.add(embeddings[first], self._v.script[slots[first]])
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
        self.turned += 1
        turn, offset = self._axes.fit()
        v, at = self._v, np.flatnonzero(self._v.inverse[: self._top])
        self._store(at, (v.dense[at] * v.unit[at, None]) @ turn + offset[v.script[at]])
        if self._whole:
            whole = np.array(list(self._whole))
            vectors = np.stack(list(self._whole.values()))
            self._store(whole, self._axes.project(vectors, v.script[whole]))
        if self._axes.count >= AXES_FROM:
            self._whole.clear()

    def _encode(self, slots: I64, embeddings: F32) -> None:
        assert self._axes is not None
        self._v.inverse[slots] = 0
        real = embeddings.any(axis=1)
        scripts = self._v.script[slots[real]]
        self._store(slots[real], self._axes.project(embeddings[real], scripts))

    def _store(self, slots: I64, coordinates: F32 | F64) -> None:
        """Round coordinates to eight bits."""
        v = self._v
        unit = np.maximum(np.abs(coordinates).max(axis=1, initial=0), 1e-20) / 127
        rounded = np.rint(coordinates / unit[:, None]).astype(np.int8)
        v.dense[slots] = rounded
        v.unit[slots] = unit
        length = np.linalg.norm(rounded.astype(np.float32), axis=1)
        v.inverse[slots] = np.where(length > 0, 1 / np.maximum(length, 1), 0)

    def _next_in_turn(self) -> int:
        """The next item whose list is made anew; -1: none was found at once."""
        for _ in range(8):  # most slots have content; a gap is passed slowly
            self._turn = (self._turn + 1) % self._top
            if self._v.placed[self._turn]:
                return self._turn
        return -1
