"""What the API takes and gives, as typed data: the OpenAPI document is made from these."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct
from starlette.responses import Response

from dashboards.alerts import AlertView
from streams import events
from streams.events import Utc


class ApiError(Exception):
    """An answer that is an error: a status and one line that says what to do."""

    def __init__(self, status: int, message: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.headers = headers or {}


class Problem(Struct, frozen=True):
    """Every error's body."""

    error: Annotated[str, Meta(description="one line that says what to do")]


class Recommended(Struct, frozen=True):
    """One place of a list, best first."""

    item_id: str
    score: Annotated[float, Meta(description="comparable within one list only")]
    reason: Annotated[
        str,
        Meta(
            description="recent-activity, interest:WHAT (of the profile), new, popular, or "
            "text:TERM, TERM: few took it yet, and it says what something of the user's says "
            "(text alone: the same in other words)"
        ),
    ]


class Recommendations(Struct, frozen=True):
    """A user's list as it is shown."""

    user_id: str
    items: list[Recommended]
    list_version: Annotated[str, Meta(description="epoch-seq; send it along with clicks")]
    watermark: Annotated[
        Utc | None, Meta(description="event time up to which the list knows everything")
    ]
    policy: Annotated[str, Meta(description="what made the list: blend, interests, popular, none")]


class Interest(Struct, frozen=True):
    """A topic or skill that a user may declare."""

    interest: Annotated[str, Meta(description="goes into the profile's interests as it is")]
    items: Annotated[int, Meta(description="that have it")]


class Interests(Struct, frozen=True):
    """What a sign-up page may offer, best first: popular, and telling people apart."""

    interests: list[Interest]


class SimilarItem(Struct, frozen=True):
    """A neighbour of an item."""

    item_id: str
    score: float


class SimilarItems(Struct, frozen=True):
    """An item's neighbours, nearest first; empty for an item that no user touched."""

    item_id: str
    items: list[SimilarItem]


class SentimentMinute(Struct, frozen=True):
    """Comments that were scored in one minute."""

    minute: Utc
    comments: int
    negatives: int
    neutrals: int
    positives: int


class ItemSentiment(Struct, frozen=True):
    """An item's comments of the last so many minutes."""

    item_id: str
    minutes: int
    comments: int
    negatives: int
    neutrals: int
    positives: int
    negative_share: Annotated[float | None, Meta(description="null without comments")]
    by_minute: Annotated[
        list[SentimentMinute], Meta(description="minutes with comments, newest first, at most 500")
    ]


class Alerts(Struct, frozen=True):
    """Spikes of negative comments, newest first."""

    alerts: list[AlertView]


class EventBatch(Struct, frozen=True):
    """Events of `streams/schemas` (click, purchase, comment), 1 to 1,000."""

    events: Annotated[list[msgspec.Raw], Meta(min_length=1, max_length=1_000)]


class ServedBatch(Struct, frozen=True):
    """Lists that a platform showed (`served.v1` of `streams/schemas`), 1 to 1,000."""

    served: Annotated[list[msgspec.Raw], Meta(min_length=1, max_length=1_000)]


class Outcome(Struct, frozen=True, omit_defaults=True):
    """What became of one entry, in the order sent."""

    accepted: bool
    id: str | None = None
    error: str | None = None


class Outcomes(Struct, frozen=True):
    """What became of a batch. What was accepted is in Kafka; a repeated id counts once."""

    accepted: int
    rejected: int
    outcomes: list[Outcome]


class ProfileChange(Struct, frozen=True, forbid_unknown_fields=True):
    """What a user says of himself; interests and personalise, left out, stay as they are."""

    interests: events.Interests | None = None
    personalise: bool | None = None
    level: Annotated[str, Meta(max_length=64)] | None = None


class ProfileNow(Struct, frozen=True):
    """The profile as it holds from now on."""

    user_id: str
    interests: tuple[str, ...]
    personalise: bool


class Acknowledge(Struct, frozen=True, forbid_unknown_fields=True):
    """Somebody sees to the alert."""

    by: Annotated[str, Meta(max_length=128)] = ""


class Snooze(Struct, frozen=True, forbid_unknown_fields=True):
    """Tell nobody of the alert again for so long; 0 minutes end an earlier snooze."""

    minutes: Annotated[float, Meta(ge=0, le=43_200)] = 60
    by: Annotated[str, Meta(max_length=128)] = ""


class Marked(Struct, frozen=True):
    """The mark is kept. `silenced`: Alertmanager is silent too (null: there is none)."""

    fingerprint: str
    marked_at: Utc
    snoozed_until: Utc | None = None
    silenced: bool | None = None


class Deleted(Struct, frozen=True):
    """The user's list is gone; what was learned from him is being taken back."""

    user_id: str
    deleted: bool


def answer(value: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """A JSON answer."""
    return Response(
        msgspec.json.encode(value),
        status,
        {"cache-control": "no-store", **(headers or {})},
        media_type="application/json",
    )


def problem(status: int, message: str, headers: dict[str, str] | None = None) -> Response:
    """An error's answer."""
    return answer(Problem(message), status, headers)
