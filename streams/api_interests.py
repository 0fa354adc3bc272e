"""GET /v1/interests/suggest: what a sign-up page may offer: popular tags that tell people apart."""

from __future__ import annotations

import asyncio
import heapq
import math
import time
from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING, NamedTuple
from weakref import WeakValueDictionary

from starlette.requests import Request
from starlette.responses import Response

from dashboards.user_lists import ItemWords
from streams.api_answers import Interest, Interests, answer
from streams.api_request import label, whole

if TYPE_CHECKING:
    from streams.api_parts import Api

DEFAULT_TAGS, MOST_TAGS = 12, 50
KEEP_SECONDS = 5.0
MOST_KEPT = 256  # tenants
POPULAR_COUNTS = 4.0  # times as much as an item that is not on the popular list
FEWEST = 2  # items of a tag
MOST_GREEDY = 200  # tags; those after them stay in the order of what they still add


async def suggest_interests(api: Api, request: Request, tenant: str) -> Response:
    """GET /v1/interests/suggest"""
    n = whole(request, "n", DEFAULT_TAGS, 1, MOST_TAGS)
    start, language = label(request, "q").casefold(), label(request, "language")
    ranked = await api.suggestions.ranked(api, tenant, language)
    return answer(Interests([tag for tag in ranked if _begins(tag.interest, start)][:n]))


class _Catalogue(NamedTuple):
    """What a tenant shows: items by language, all under ""; `tags` as they were asked for."""

    seen: float
    items: dict[str, list[tuple[str, ItemWords]]]
    popular: Collection[str]
    tags: dict[str, list[Interest]]


class Suggestions:
    """The tags of a tenant's catalogue in the order to offer them, kept for seconds.

    It is gone through once for all languages: whatever language is asked for, no oftener.
    """

    def __init__(self) -> None:
        self._kept: dict[str, _Catalogue] = {}
        # Held by who asks: many who come at once wait for one of them.
        self._asked: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def ranked(self, api: Api, tenant: str, language: str) -> list[Interest]:
        """All of them; of items in one language where it is given."""
        one = self._asked.setdefault(tenant, asyncio.Lock())
        async with one:
            known = self._kept.get(tenant)
            if known is None or time.monotonic() - known.seen > KEEP_SECONDS:
                if len(self._kept) >= MOST_KEPT:
                    self._kept.clear()
                known = self._kept[tenant] = await _look(api, tenant)
            if language in known.items and language not in known.tags:
                # A large catalogue takes a second: readers of lists must not wait for it.
                known.tags[language] = await asyncio.to_thread(
                    ranked, known.items[language], known.popular
                )
        return known.tags.get(language, [])


async def _look(api: Api, tenant: str) -> _Catalogue:
    popular = await api.store.popular(tenant)
    shown = list(api.items.shown(tenant))
    items = {"": shown}
    for each in shown:
        if language := each[1].language:
            items.setdefault(language, []).append(each)
    return _Catalogue(time.monotonic(), items, popular.items if popular else (), {})


def ranked(items: Iterable[tuple[str, ItemWords]], popular: Collection[str]) -> list[Interest]:
    """Tags by what they add: each item they cover counts 1 / (1 + tags before it that did).

    Times log((1 + N) / df): what all items have tells nobody apart. Greedy, with lazy sums (Minoux
    1978): a tag's worth only falls, so that the best on the heap is looked at again before it goes.
    """
    known = set(popular)
    of: dict[str, list[int]] = {}
    worth: list[float] = []
    for number, (item, words) in enumerate(items):
        worth.append(POPULAR_COUNTS if item in known else 1.0)
        for tag in dict.fromkeys((*words.topics, *words.skills)):
            of.setdefault(tag, []).append(number)

    def value(tag: str) -> float:
        return math.log((1 + len(worth)) / len(of[tag])) * sum(worth[at] for at in of[tag])

    heap = [(-value(tag), tag) for tag, theirs in of.items() if len(theirs) >= FEWEST]
    heapq.heapify(heap)
    found: list[Interest] = []
    before: dict[int, int] = {}
    while heap:
        _, tag = heapq.heappop(heap)
        now = -value(tag)
        if len(found) < MOST_GREEDY and heap and now > heap[0][0] + 1e-12:
            heapq.heappush(heap, (now, tag))
            continue
        found.append(Interest(tag, len(of[tag])))
        for at in of[tag]:
            met = before.get(at, 0) + 1
            worth[at] *= met / (met + 1)
            before[at] = met
    return found


def _begins(tag: str, start: str) -> bool:
    """Whether the tag, or a word of it, begins so."""
    text = tag.casefold()
    return text.startswith(start) or any(
        word.startswith(start) for word in text.replace("-", " ").split()
    )
