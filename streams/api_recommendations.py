"""GET /v1/users/{id}/recommendations: the stored list, filtered, and recorded as shown."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from starlette.requests import Request
from starlette.responses import Response

from dashboards.user_lists import ItemWords, at_ms
from infra.serving import ProfileFlags, StoredList
from online.content_terms import words_of
from streams.api_answers import Recommendations, Recommended, answer
from streams.api_request import excluded, label, path_id, whole
from streams.events import Served

if TYPE_CHECKING:
    from streams.api_parts import Api

DEFAULT_ITEMS = 10
MOST_ITEMS = 100
NOTHING = StoredList(1, (0, 0), 0, [], [], "none", 0)
POPULAR, NEW = "popular", "new"
TERMS = 3  # that a reason names


async def recommendations(api: Api, request: Request, tenant: str) -> Response:
    """GET /v1/users/{id}/recommendations"""
    user = path_id(request)
    n = whole(request, "n", DEFAULT_ITEMS, 1, MOST_ITEMS)
    without, topic, surface = excluded(request), label(request, "topic"), label(request, "surface")
    language = label(request, "language")
    parts = {"topic": topic, "surface": surface, "language": language}
    flags, stored = await _read(api, tenant, user, parts)
    places = [
        (item, score)
        for item, score in zip(stored.items, stored.scores, strict=False)
        if item not in without and api.items.may_show(tenant, item, topic, language)
    ][:n]
    version = f"{stored.version[0]}-{stored.version[1]}"
    slots = {stored.items[place]: propensity for place, propensity in stored.explored}
    explored = {at: slots[item] for at, (item, _) in enumerate(places) if item in slots}
    if places:
        api.recorder.record(
            Served(
                user_id=user,
                list_version=version,
                items=tuple(item for item, _ in places),
                positions=tuple(range(len(places))),
                served_at=datetime.now(UTC),
                tenant=tenant,
                policy=stored.policy[:64],
                surface=surface,
                seed=stored.seed,
                explored=tuple(explored),
                propensities=tuple(explored.values()),
            )
        )
    near = dict(stored.near)
    shown = [
        Recommended(
            item,
            score,
            NEW
            if item in slots
            else _reason(api, tenant, item, stored.policy, flags.interests, near),
        )
        for item, score in places
    ]
    watermark = at_ms(stored.watermark_ms)
    return answer(Recommendations(user, shown, version, watermark, stored.policy))


async def _read(
    api: Api, tenant: str, user: str, parts: Mapping[str, str]
) -> tuple[ProfileFlags, StoredList]:
    """The user's list where he wants one of his own and has one; else the popular list.

    That is the list of the first of `parts` that is asked for and has one, else of all items.
    """
    flags, own = await api.store.read_with_profile(tenant, user)
    if own is not None and own.items and flags.personalise and not flags.deleted:
        return flags, own
    for part, value in parts.items():
        popular = await api.store.popular(f"{tenant}:{part}:{value}") if value else None
        if popular is not None and popular.items:  # an emptied one has none
            return flags, popular
    return flags, await api.store.popular(tenant) or NOTHING


def _reason(
    api: Api, tenant: str, item: str, policy: str, interests: Collection[str],
    near: Mapping[str, str],
) -> str:  # fmt: skip
    """Why this item: what made the list, of the user's own interests the first that it meets, and
    what it has in common with the item of his that it is near to.
    """
    if policy == POPULAR:
        return POPULAR
    words = api.items.words(tenant, item)
    met = interest_met(words, interests) if interests else None
    if met:
        return f"interest:{met}"
    if item not in near:
        return "recent-activity"
    terms = in_common(words, api.items.words(tenant, near[item]))
    return f"text:{', '.join(terms)}" if terms else "text"


def interest_met(words: ItemWords, interests: Collection[str]) -> str | None:
    """The interest that is a topic or a skill of the item, or stands in its title."""
    tags = (tag for tag in (*words.topics, *words.skills) if tag in interests)
    title = words.title.casefold()
    said = (each for each in interests if each and each.casefold() in title)
    return next(tags, None) or next(said, None)


def in_common(one: ItemWords, other: ItemWords) -> list[str]:
    """The first three topics and words of the title that both have."""
    theirs = {*other.topics, *words_of(other.title)}
    ours = dict.fromkeys((*one.topics, *words_of(one.title)))
    return [term for term in ours if term in theirs and len(term) > 1][:TERMS]
