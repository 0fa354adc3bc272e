"""All that we own in Grafana, one form for each kind, with a stamp that tells hands from pushes.

The stamp is a digest of what was pushed, kept where Grafana's readers do not see it. A resource
whose content no longer has the digest of its stamp was edited by hand.
"""

from __future__ import annotations

import copy
import json
from hashlib import blake2b
from typing import Any, Literal

from msgspec import Struct

from dashboards import grafana_rules, grafana_sources
from dashboards.grafana_boards import BOARDS, FOLDER_TITLE, FOLDER_UID
from dashboards.grafana_json import dashboard
from infra.settings import Settings

Kind = Literal["folder", "data source", "dashboard", "alert rule", "contact point"]
STAMP = "springtide_digest"

# What of a resource is ours; the rest (ids, versions, times, defaults) Grafana adds by itself.
OURS: dict[Kind, tuple[str, ...]] = {
    "folder": ("uid", "title"),
    "data source": ("uid", "name", "type", "access", "url", "jsonData"),
    "alert rule": (
        "uid", "title", "folderUID", "ruleGroup", "condition", "data", "noDataState",
        "execErrState", "for", "annotations", "labels", "isPaused", "notification_settings",
    ),
    "contact point": ("uid", "name", "type", "settings", "disableResolveMessage"),
}  # fmt: skip
GRAFANAS = ("id", "version")  # of a dashboard's JSON


class Resource(Struct, frozen=True):
    """Something of ours in Grafana.

    Attributes:
        body: what it should be, without stamp and secrets.
        secrets: what is sent besides and can never be read back.
    """

    kind: Kind
    uid: str
    title: str
    body: dict[str, Any]
    secrets: dict[str, Any] = {}

    def stamped(self) -> dict[str, Any]:
        """The body with its stamp."""
        return stamp(self.kind, self.body)


def resources(settings: Settings) -> list[Resource]:
    """Everything, in the order in which it is made: each stands on those before it.

    Raises:
        UserError: a setting cannot be used.
    """
    folder = {"uid": FOLDER_UID, "title": FOLDER_TITLE}
    found = [Resource("folder", FOLDER_UID, FOLDER_TITLE, folder)]
    clickhouse = settings.clickhouse_url.get_secret_value()
    for source in grafana_sources.data_sources(clickhouse, settings.prometheus_url):
        secrets = source.pop("secureJsonData", {})
        body = ours("data source", source)
        found.append(Resource("data source", body["uid"], body["name"], body, secrets))
    for board in BOARDS:
        body = dashboard(board)
        found.append(Resource("dashboard", board.uid, body["title"], body))
    contact = grafana_sources.contact_point(settings.alertmanager_url, settings.webhook_url)
    if contact is not None:
        found.append(Resource("contact point", contact["uid"], contact["name"], contact))
    for rule in grafana_rules.RULES:
        body = grafana_rules.alert_rule(rule, notify=contact is not None)
        found.append(Resource("alert rule", rule.uid, rule.title, body))
    return found


def ours(kind: Kind, body: dict[str, Any]) -> dict[str, Any]:
    """What of a resource as Grafana has it is compared."""
    if kind == "dashboard":
        return {name: value for name, value in body.items() if name not in GRAFANAS}
    return {name: body[name] for name in OURS[kind] if body.get(name) is not None}


def stamp(kind: Kind, body: dict[str, Any]) -> dict[str, Any]:
    """A copy that carries the digest of its content, where the kind has a place for it."""
    copied, mark = copy.deepcopy(body), digest(body)
    if kind == "dashboard":
        # A constant that is not shown: it stays with the JSON, whatever people do to the rest.
        hidden = {"type": "constant", "name": STAMP, "query": mark, "hide": 2, "skipUrlSync": True}
        copied["templating"]["list"].append(hidden)
    elif kind == "data source":
        copied["jsonData"][STAMP] = mark
    elif kind == "alert rule":
        copied["annotations"][STAMP] = mark
    return copied


def unstamped(kind: Kind, body: dict[str, Any]) -> tuple[dict[str, Any], str]:
    """A copy without its stamp, and the stamp; empty where it has none."""
    copied = copy.deepcopy(body)
    mark = ""
    if kind == "dashboard":
        variables = copied.get("templating", {}).get("list", [])
        mark = next((str(v.get("query", "")) for v in variables if v.get("name") == STAMP), "")
        variables[:] = [each for each in variables if each.get("name") != STAMP]
    elif kind == "data source":
        mark = copied.get("jsonData", {}).pop(STAMP, "")
    elif kind == "alert rule":
        mark = copied.get("annotations", {}).pop(STAMP, "")
    return copied, mark


def digest(body: dict[str, Any]) -> str:
    """Of the content, whatever the order of its keys."""
    canonical = json.dumps(body, sort_keys=True, ensure_ascii=False)
    return blake2b(canonical.encode(), digest_size=8).hexdigest()
