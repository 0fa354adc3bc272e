"""What a Grafana reads from files: `json/` for dashboards, `provisioning/` for all the rest.

Provisioning files are YAML by name; JSON is YAML, and needs no library to write.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from dashboards import grafana_json, grafana_rules, grafana_sources
from dashboards.grafana_boards import FOLDER_TITLE, FOLDER_UID

FOLDER = Path(__file__).parent
INSIDE = "/var/lib/grafana/springtide"  # where compose mounts json/
INTERVAL = "1m"

# The services by their names in infra/compose.yaml; the password is Grafana's to look up.
CLICKHOUSE_URL = "clickhouse://springtide:password@clickhouse:9000/springtide"
PROMETHEUS_URL = "http://prometheus:9090"
ALERTMANAGER_URL = "http://alertmanager:9093"
PASSWORD = "${SPRINGTIDE_CLICKHOUSE_PASSWORD}"


def files() -> dict[str, str]:
    """Path below `dashboards/` → text of every generated file."""
    found = {f"json/{name}": text for name, text in grafana_json.files().items()}
    for name, document in (
        ("datasources/springtide.yaml", _sources()),
        ("dashboards/springtide.yaml", _provider()),
        ("alerting/springtide.yaml", _escaped(_alerting())),
    ):
        found[f"provisioning/{name}"] = grafana_json.text(document)
    return found


def write(folder: Path) -> list[Path]:
    """Write every file below `folder`; returns those that changed."""
    changed = []
    for name, text in files().items():
        path = folder / name
        if not path.exists() or path.read_text("utf-8") != text:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, "utf-8")
            changed.append(path)
    return changed


def _sources() -> dict[str, Any]:
    sources = grafana_sources.data_sources(CLICKHOUSE_URL, PROMETHEUS_URL)
    for source in sources:
        if "secureJsonData" in source:
            source["secureJsonData"] = {"password": PASSWORD}
    return {"apiVersion": 1, "datasources": sources}


def _provider() -> dict[str, Any]:
    provider = {
        "name": "springtide",
        "type": "file",
        "folder": FOLDER_TITLE,
        "folderUid": FOLDER_UID,
        "allowUiUpdates": False,
        "options": {"path": INSIDE},
    }
    return {"apiVersion": 1, "providers": [provider]}


def _alerting() -> dict[str, Any]:
    contact = grafana_sources.contact_point(ALERTMANAGER_URL, "")
    receivers = []
    if contact is not None:
        receiver = {name: value for name, value in contact.items() if name != "name"}
        receivers.append({"orgId": 1, "name": contact["name"], "receivers": [receiver]})
    rules = []
    for rule in grafana_rules.RULES:
        body = grafana_rules.alert_rule(rule, notify=bool(receivers))
        rules.append({n: v for n, v in body.items() if n not in ("folderUID", "ruleGroup")})
    group = {"orgId": 1, "name": grafana_rules.GROUP, "folder": FOLDER_TITLE,
             "interval": INTERVAL, "rules": rules}  # fmt: skip
    return {"apiVersion": 1, "groups": [group], "contactPoints": receivers}


def _escaped(value: Any) -> Any:
    """`$` doubled: these files' own variables are `$NAME`, and our SQL's macros are not."""
    if isinstance(value, dict):
        return {name: _escaped(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_escaped(each) for each in value]
    return value.replace("$", "$$") if isinstance(value, str) else value
