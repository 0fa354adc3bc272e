"""An alert as Alertmanager writes it (webhook JSON) and as it takes it (its v2 API)."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

# Longer than a restart of ours may take, short enough that a dead monitor's alerts end.
HOLD = timedelta(hours=4)
NEVER = "0001-01-01T00:00:00Z"  # Alertmanager's own word for "has not ended"
RECEIVER = "springtide"

Fields = Mapping[str, Any]  # of `AlertSender.send`
Incident = tuple[str, str]  # tenant, fingerprint
Owed = tuple[str, str, str]  # tenant, fingerprint, status


def incident_of(fields: Fields) -> Incident:
    """What stays the same of an alert while it grows and when it ends."""
    return str(fields["labels"].get("tenant", "")), fields["fingerprint"]


def webhook_body(fields: Fields) -> dict[str, Any]:
    """One alert as Alertmanager's webhook JSON, version 4; a group of its own."""
    labels = texts(fields["labels"])
    group = {"alertname": labels.get("alertname", RECEIVER)}
    ended = fields["ends_at"]
    return {
        "version": "4",
        "groupKey": f'{{}}:{{alertname="{group["alertname"]}"}}:{fields["fingerprint"]}',
        "truncatedAlerts": 0,
        "status": fields["status"],
        "receiver": RECEIVER,
        "groupLabels": group,
        "commonLabels": labels,
        "commonAnnotations": texts(fields["annotations"]),
        "externalURL": "",
        "alerts": [
            {
                "status": fields["status"],
                "labels": labels,
                "annotations": texts(fields["annotations"]),
                "startsAt": fields["starts_at"].isoformat(),
                "endsAt": ended.isoformat() if ended else NEVER,
                "generatorURL": _url(fields),
                "fingerprint": fields["fingerprint"],
            }
        ],
    }


def alertmanager_alert(fields: Fields, now: datetime) -> dict[str, Any]:
    """One alert for POST /api/v2/alerts, which refuses an end before the start."""
    starts = min(fields["starts_at"], now)
    ends = now + HOLD if fields["status"] == "firing" else fields["ends_at"] or now
    return {
        "labels": texts(fields["labels"]),
        "annotations": texts(fields["annotations"]),
        "startsAt": starts.isoformat(),
        "endsAt": max(ends, starts).isoformat(),
        "generatorURL": _url(fields),
    }


def _url(fields: Fields) -> str:
    """Where its link is a whole one: Alertmanager takes no other."""
    link = str(fields["annotations"].get("link", ""))
    return link if link.startswith(("http://", "https://")) else ""


def texts(pairs: Mapping[str, Any]) -> dict[str, str]:
    """Texts that UTF-8 has bytes for."""
    return {name: str(value).encode("utf-8", "replace").decode() for name, value in pairs.items()}
