"""Content items: what the learner is told about items, by their ids."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from online.arrays import F32, I32, I64, U8
from online.content import TOP, Content
from online.shared import Shared
from online.steps import Steps, finish


class ItemContent(NamedTuple):
    """What items say about themselves.

    Attributes:
        ids: different ones.
        terms: of each, see `content_terms.terms_of`.
        embeddings: float32[n, d] of a language model, a row of zeros for none; or None.
        scripts: uint8[n], see `content_terms.script_of`; None: all the same.
    """

    ids: list[str]
    terms: list[I32]
    embeddings: F32 | None
    scripts: U8 | None = None

    def some(self, numbers: I64) -> ItemContent:
        """Those at int64[m]."""
        ids, terms = ([of[at] for at in numbers.tolist()] for of in (self.ids, self.terms))
        return ItemContent(
            ids,
            terms,
            None if self.embeddings is None else self.embeddings[numbers],
            None if self.scripts is None else self.scripts[numbers],
        )


class ItemContents:
    """What a learner is told, and the steps that take it over."""

    def __init__(self, shared: Shared) -> None:
        self._shared = shared

    def waits(self, item: str) -> bool:
        """Whether it gets no slot now: nobody may be shown it, nobody took it, slots are scarce."""
        return self._shared.crowding.crowded() and self._shared.withheld(item)

    def put(self, items: ItemContent, listed: bool = True) -> None:
        """Take it over, in place of what the items said before.

        Args:
            listed: lists may show the items before anybody took them.

        Raises:
            ValueError: the embeddings have another width than those before, or are not finite.
        """
        finish(self.putting(items, listed))

    def putting(self, items: ItemContent, listed: bool = True) -> Steps:
        """`put` in steps, between which others may learn and list; one call after the other."""
        shared = self._shared
        slots = shared.intern_many(items.ids).astype(np.int64)
        known = np.flatnonzero(slots >= 0)
        slots, items = slots[known], items.some(known)
        yield from shared.content.putting(self._content, slots, *items[1:])
        yield from shared.start.starting(slots)
        if listed:
            c = self._content()
            c.listed[slots] = 1
            c.state[TOP] = max(c.state[TOP], int(slots.max(initial=-1)) + 1)

    def forget_embeddings(self) -> None:
        """Embeddings of another model follow; until an item has its own, words and tags speak."""
        self._shared.content.forget_embeddings()
        self._shared.start.forget()

    def _content(self) -> Content:
        return self._shared.model.content
