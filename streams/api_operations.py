"""The API's operations as data: routes are made from these, and so is the OpenAPI document."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Literal

from msgspec import Struct
from starlette.requests import Request
from starlette.responses import Response

from streams import api_answers as answers
from streams.api_access import Scope
from streams.api_events import post_events, post_served
from streams.api_interests import suggest_interests
from streams.api_monitoring import (
    acknowledge_alert,
    item_sentiment,
    list_alerts,
    snooze_alert,
)
from streams.api_parts import Api
from streams.api_recommendations import recommendations
from streams.api_similar import similar_items
from streams.api_users import delete_user, put_profile

Handle = Callable[[Api, Request, str], Awaitable[Response]]


class Parameter(Struct, frozen=True):
    """A parameter of the query."""

    name: str
    schema: dict[str, Any]
    description: str


class Operation(Struct, frozen=True):
    """One method on one path. `id` in a path may hold slashes, percent-encoded or not."""

    name: str
    method: Literal["GET", "POST", "PUT", "DELETE"]
    path: str
    summary: str
    scope: Scope
    handle: Handle
    answers: dict[int, type[Struct]]
    parameters: tuple[Parameter, ...] = ()
    body: type[Struct] | None = None


def _number(name: str, default: int, most: int, description: str) -> Parameter:
    schema = {"type": "integer", "minimum": 1, "maximum": most, "default": default}
    return Parameter(name, schema, description)


_TEXT = {"type": "string", "maxLength": 64}
_TAKEN: dict[int, type[Struct]] = {202: answers.Outcomes, 422: answers.Outcomes}

OPERATIONS: tuple[Operation, ...] = (
    Operation(
        "recommendations",
        "GET",
        "/v1/users/{id}/recommendations",
        "The user's list now; what is answered is recorded on served.v1.",
        "read",
        recommendations,
        {200: answers.Recommendations},
        (
            _number("n", 10, 100, "items at most"),
            Parameter("exclude", {"type": "string"}, "item ids, with commas or given repeatedly"),
            Parameter("topic", _TEXT, "only items of this topic"),
            Parameter("language", _TEXT, "only items in this language"),
            Parameter("surface", _TEXT, "where the list is shown; recorded"),
        ),
    ),
    Operation(
        "put_profile",
        "PUT",
        "/v1/users/{id}",
        "What the user says of himself; personalise = false holds from this answer on.",
        "write",
        put_profile,
        {200: answers.ProfileNow},
        body=answers.ProfileChange,
    ),
    Operation(
        "delete_user",
        "DELETE",
        "/v1/users/{id}",
        "Forget the user: the list at once, what was learned as the workers get to it.",
        "write",
        delete_user,
        {202: answers.Deleted},
    ),
    Operation(
        "post_events",
        "POST",
        "/v1/events",
        "Clicks, purchases and comments; each is judged alone, a repeated id counts once.",
        "write",
        post_events,
        _TAKEN,
        body=answers.EventBatch,
    ),
    Operation(
        "post_served",
        "POST",
        "/v1/served",
        "Lists that a platform read from Redis and showed.",
        "write",
        post_served,
        _TAKEN,
        body=answers.ServedBatch,
    ),
    Operation(
        "suggest_interests",
        "GET",
        "/v1/interests/suggest",
        "Topics and skills for a sign-up page to offer; a profile takes any other words, too.",
        "read",
        suggest_interests,
        {200: answers.Interests},
        (
            _number("n", 12, 50, "interests at most"),
            Parameter("q", _TEXT, "only those of which a word begins so"),
            Parameter("language", _TEXT, "only of items in this language"),
        ),
    ),
    Operation(
        "similar_items",
        "GET",
        "/v1/items/{id}/similar",
        "Items that the same users touch.",
        "read",
        similar_items,
        {200: answers.SimilarItems},
        (_number("n", 10, 100, "items at most"),),
    ),
    Operation(
        "item_sentiment",
        "GET",
        "/v1/items/{id}/sentiment",
        "How an item's comments were scored.",
        "read",
        item_sentiment,
        {200: answers.ItemSentiment},
        (_number("minutes", 1_440, 86_400, "how far back"),),
    ),
    Operation(
        "list_alerts",
        "GET",
        "/v1/alerts",
        "Spikes of negative comments, newest first.",
        "read",
        list_alerts,
        {200: answers.Alerts},
        (
            Parameter("state", {"enum": ["firing", "resolved"]}, "only those"),
            _number("limit", 50, 200, "alerts at most"),
            _number("minutes", 86_400, 600_000, "how far back"),
        ),
    ),
    Operation(
        "acknowledge_alert",
        "POST",
        "/v1/alerts/{id}/acknowledge",
        "Somebody sees to this alert (its fingerprint): shown to everyone, kept for good.",
        "write",
        acknowledge_alert,
        {200: answers.Marked, 404: answers.Problem},
        body=answers.Acknowledge,
    ),
    Operation(
        "snooze_alert",
        "POST",
        "/v1/alerts/{id}/snooze",
        "Tell nobody of this alert again for a while; it stays in every list.",
        "write",
        snooze_alert,
        {200: answers.Marked, 404: answers.Problem},
        body=answers.Snooze,
    ),
)
