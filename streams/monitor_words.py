"""An alert in words, for people who read it in a chat, a mail or on a phone at night.

What was said, where, since when, why, and what to do. Comments, titles and topics are other
people's words, and what shows them may read them as its own: no receiver is to ring for a mention,
follow a link or obey a control character that a comment brought along.
"""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import quote

from streams.events import Alert

MOST_CHARACTERS = 200  # of a text of others
ACTION = "Read the comments at the link; there, acknowledge the alert or snooze it."
DRIFT_ACTION = (
    "Compare the models on the Sentiment board; `springtide models rollback` takes the last "
    "version back. Alerts on items are judged with the new version's share in mind."
)
# Control characters, line ends, marks that turn or hide text, and those that join what is seen
# apart (a mention may hide behind them).
_UNSEEN = re.compile(
    r"[\x00-\x20\x7f-\xa0\xad\u061c\u180e\u2000-\u200f\u2028-\u202f\u205f-\u206f\ufeff]+"
)
_SCHEME = re.compile(r"\b[a-z][a-z0-9+.-]{0,20}:/{2,}", re.IGNORECASE)
# What starts a mention, a tag, a link's words or code in one chat or another, as its likeness.
_LIKE = str.maketrans({"@": "＠", "<": "‹", ">": "›", "[": "［", "]": "］", "`": "ˋ"})


def plain(text: str) -> str:
    """A text of others on one line, at most 200 characters, that means nothing to a machine."""
    seen = _UNSEEN.sub(" ", text).strip()
    return _SCHEME.sub("", seen)[:MOST_CHARACTERS].translate(_LIKE)


def link(ops_url: str, tenant: str, fingerprint: str) -> str:
    """Where the ops page shows the alert; without `ops_url` its path there."""
    place = f"?tenant={quote(tenant)}#alert={quote(fingerprint)}"
    return f"{ops_url.rstrip('/')}/{place}"


def alert_fields(alert: Alert) -> dict[str, Any]:
    """Labels, annotations and times, as Alertmanager names them; labels are exact."""
    drift = alert.channel == "drift"
    return {
        "status": alert.state,
        "fingerprint": alert.fingerprint,
        "starts_at": alert.started_at,
        "ends_at": alert.raised_at if alert.state == "resolved" else None,
        "labels": {
            "alertname": "ModelDrift" if drift else "NegativeSpike",
            "tenant": alert.tenant,
            "key": alert.key,
            "channel": alert.channel,
            "severity": alert.severity,
            "parent": alert.parent or alert.key,  # what Alertmanager groups by
            "incident": alert.fingerprint,  # what a snooze silences
        },
        "annotations": {
            "summary": summary(alert),
            "action": DRIFT_ACTION if drift else ACTION,
            "evidence": f"10^{alert.evidence:.1f} (alarm at 10^{alert.threshold:.1f})",
            "effect": f"{alert.effect:.2f}",
            "negatives": str(alert.negatives),
            "comments": str(alert.comments),
            "since": f"{alert.started_at:%Y-%m-%d %H:%M} UTC",
            "raised_at": alert.raised_at.isoformat(),
            "terms": ", ".join(map(plain, alert.terms)),
            "slice": plain(slice_text(alert)),
            "common": ", ".join(map(plain, alert.common)),
            "link": alert.link,
            # After a restart they are remembered from alerts.v1, which has no words of comments.
            "examples": " | ".join(plain(each.text) for each in alert.examples if each.text),
        },
    }


def summary(alert: Alert) -> str:
    """The alert in a line."""
    kind, _, name = alert.key.partition(":")
    if kind == "model":
        version, _, language = name.rpartition("/")
        what = f"The classifier {version} finds more negative comments"
        what += f" in {language}" if language else ""
    else:
        about = {"tenant": f"everything of {alert.tenant}", "topic": f"the topic {name}"}
        what = f"Negative comments on {about.get(kind, alert.title or alert.key)}"
    ended = "Over: " if alert.state == "resolved" else ""
    return (
        f"{ended}{plain(what)}: {alert.negatives} of {alert.comments} "
        f"({alert.share:.0%}, usually {alert.baseline:.0%})"
    )


def slice_text(alert: Alert) -> str:
    """The likeliest slice in words; "" where the spike is everywhere."""
    first = alert.slices[0].attributes if alert.slices else {}
    return ", ".join(f"{name} {value}" for name, value in first.items())
