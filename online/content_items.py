"""Content items: what the learner is told about items, by their ids."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from online.arrays import F32, I32, I64
from online.content import TOP
from online.shared import Shared


class ItemContent(NamedTuple):
    """What items say about themselves.

    Attributes:
        ids: different ones.
        terms: of each, see `content_terms.terms_of`.
        embeddings: float32[n, d] of a language model, a row of zeros for none; or None.
    """

    ids: list[str]
    terms: list[I32]
    embeddings: F32 | None

    def some(self, numbers: I64) -> ItemContent:
        """Those at int64[m]."""
        ids, terms = ([of[at] for at in numbers.tolist()] for of in (self.ids, self.terms))
        return ItemContent(
            ids, terms, None if self.embeddings is None else self.embeddings[numbers]
        )


def put(shared: Shared, items: ItemContent, listed: bool) -> None:
    """Take it over, in place of what the items said before.

    Args:
        listed: lists may show the items before anybody took them.

    Raises:
        ValueError: the embeddings have another width than those before, or are not finite.
    """
    slots = shared.intern_many(items.ids).astype(np.int64)
    known = np.flatnonzero(slots >= 0)
    slots, items = slots[known], items.some(known)
    c = shared.model.content
    shared.content.put(c, slots, items.terms, items.embeddings)
    if listed:
        c.listed[slots] = 1
        c.state[TOP] = max(c.state[TOP], int(slots.max(initial=-1)) + 1)
