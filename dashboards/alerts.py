"""Alerts as people read them: one entry a spike, as it stands now, with its comments."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from msgspec import Meta, Struct

MOST_ALERTS = 200
Moment = Annotated[datetime, Meta(tz=True)]
State = Literal["firing", "resolved"]
Part = TypeVar("Part", bound=Struct)


class Telling(Struct, frozen=True):
    """One of the comments that tell what an alert is about."""

    id: str
    text: str
    negative: Annotated[float, Meta(description="probability that it is negative")]
    occurred_at: Moment | None = None


class Slice(Struct, frozen=True):
    """What the comments of a spike have in common; no attributes: it is everywhere.

    `held`: its evidence ÷ that of the slice with most; `share`, `usual`: negative, now and before.
    """

    attributes: dict[str, str]
    held: float
    share: float
    usual: float
    comments: int


class AlertView(Struct, frozen=True):
    """A spike of negative comments.

    `evidence` and `threshold` are log10 of the e-value and of what the false-alarm budget asks.
    """

    fingerprint: str
    key: str
    title: str
    channel: str
    state: State
    severity: str
    started_at: Moment
    raised_at: Moment
    noticed_at: Annotated[Moment, Meta(description="by the wall clock, as raised_at is not")]
    evidence: float
    threshold: float
    negatives: int
    comments: int
    share: float
    baseline: float
    effect: float
    historic: bool
    resolved_at: Moment | None
    examples: tuple[Telling, ...]
    acknowledged_at: Moment | None = None
    acknowledged_by: str = ""
    snoozed_until: Annotated[Moment | None, Meta(description="not told again before")] = None
    parent: Annotated[str, Meta(description="key that it is grouped under")] = ""
    common: Annotated[tuple[str, ...], Meta(description="keys that rose as well")] = ()
    terms: Annotated[tuple[str, ...], Meta(description="that tell its comments from others")] = ()
    slices: Annotated[tuple[Slice, ...], Meta(description="that hold it, likeliest first")] = ()


# A spike has a row when it fires and one when it resolves (and again after a crash, with the same
# fingerprint): what it was is read from the row that fired, what it is now from the last one.
ALERTS = """SELECT * FROM (SELECT fingerprint,
  argMax(state, (received_at, offset)) AS last_state,
  argMaxIf(raised_at, (received_at, offset), state = 'resolved') AS resolved_at,
  argMax(key, (state = 'firing', evidence)) AS alert_key,
  argMax(tuple(title, channel, severity, started_at, raised_at, evidence, threshold, negatives,
    comments, share, baseline, effect, historic, examples, parent, common, terms, slices),
    (state = 'firing', evidence)) AS peak,
  if(countIf(state = 'firing') > 0, minIf(received_at, state = 'firing'), min(received_at))
    AS noticed_at,
  max(received_at) AS newest
FROM alerts WHERE tenant = %(tenant)s AND received_at >= %(since)s
GROUP BY fingerprint
HAVING %(state)s IN ('', last_state)
ORDER BY fingerprint = %(first)s DESC, %(firing_first)s AND last_state = 'firing' DESC,
  newest DESC, fingerprint LIMIT %(limit)s) AS told
LEFT JOIN (SELECT fingerprint,
  maxIf(marked_at, action = 'acknowledge') AS acknowledged_at,
  argMaxIf(marked_by, marked_at, action = 'acknowledge') AS acknowledged_by,
  argMaxIf(until, marked_at, action = 'snooze') AS snoozed_until
FROM alert_marks WHERE tenant = %(tenant)s GROUP BY fingerprint) AS marks USING fingerprint
ORDER BY newest DESC, fingerprint"""

_PEAK = (
    "title", "channel", "severity", "started_at", "raised_at", "evidence", "threshold",
    "negatives", "comments", "share", "baseline", "effect", "historic", "examples",
    "parent", "common", "terms", "slices",
)  # fmt: skip


def parameters(
    tenant: str,
    since: datetime,
    state: State | None = None,
    limit: int = 50,
    first: str = "",
    firing_first: bool = False,
) -> dict[str, Any]:
    """Parameters of `ALERTS`; at most `MOST_ALERTS` alerts.

    Args:
        first: fingerprint of an alert that is not to be left out, however old.
        firing_first: nor are those that fire, before any that has ended.
    """
    return {
        "first": first,
        "firing_first": int(firing_first),
        "tenant": tenant,
        "since": since,
        "state": state or "",
        "limit": min(limit, MOST_ALERTS),
    }


def views(rows: Sequence[Mapping[str, Any]]) -> list[AlertView]:
    """The rows of `ALERTS`."""
    return [_view(row) for row in rows]


def _view(row: Mapping[str, Any]) -> AlertView:
    peak = dict(zip(_PEAK, row["peak"], strict=True))
    resolved = row["last_state"] == "resolved"
    return AlertView(
        fingerprint=row["fingerprint"],
        key=row["alert_key"],
        state="resolved" if resolved else "firing",
        resolved_at=_utc(row["resolved_at"]) if resolved else None,
        started_at=_utc(peak.pop("started_at")),
        raised_at=_utc(peak.pop("raised_at")),
        noticed_at=_utc(row["noticed_at"]),
        historic=bool(peak.pop("historic")),
        examples=_decoded(peak.pop("examples"), Telling),
        slices=_decoded(peak.pop("slices"), Slice),
        common=tuple(peak.pop("common")),
        terms=tuple(peak.pop("terms")),
        acknowledged_at=_marked(row["acknowledged_at"]),
        acknowledged_by=row["acknowledged_by"] or "",
        snoozed_until=_marked(row["snoozed_until"]),
        **peak,
    )


def _utc(value: datetime) -> datetime:
    return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def _marked(value: datetime | None) -> datetime | None:
    """ClickHouse's zero time: nobody marked it."""
    found = None if value is None else _utc(value)
    return found if found is not None and found.year > 1970 else None


def _decoded(text: str, kind: type[Part]) -> tuple[Part, ...]:
    try:
        return msgspec.json.decode(text, type=tuple[kind, ...])  # type: ignore[valid-type]
    except msgspec.DecodeError:  # of an older form: the alert itself still counts
        return ()
