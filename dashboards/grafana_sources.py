"""Grafana's data sources and contact point, from our settings: what differs between platforms."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from dashboards.grafana_json import CLICKHOUSE, PROMETHEUS
from infra.settings import UserError, host_and_port

CONTACT_POINT = "springtide"
NATIVE_PORT, NATIVE_TLS_PORT = 9000, 9440


def data_sources(clickhouse_url: str, prometheus_url: str) -> list[dict[str, Any]]:
    """Prometheus and ClickHouse, in the form of Grafana's API.

    Raises:
        UserError: the ClickHouse URL cannot be used.
    """
    return [
        {
            **PROMETHEUS,
            "name": "Springtide Prometheus",
            "access": "proxy",
            "url": prometheus_url,
            "jsonData": {"httpMethod": "POST", "timeInterval": "15s"},
        },
        _clickhouse(clickhouse_url),
    ]


def _clickhouse(url: str) -> dict[str, Any]:
    parts = urlsplit(url)
    secure = parts.scheme == "clickhouses" or parse_qs(parts.query).get("secure", [""])[0] in (
        "1", "true", "True",
    )  # fmt: skip
    try:
        host, port = host_and_port(url, NATIVE_TLS_PORT if secure else NATIVE_PORT)
    except UserError:  # its message would repeat the password
        raise UserError("SPRINGTIDE_CLICKHOUSE_URL: not a usable URL") from None
    source: dict[str, Any] = {
        **CLICKHOUSE,
        "name": "Springtide ClickHouse",
        "access": "proxy",
        "jsonData": {
            "protocol": "native",
            "host": host,
            "port": port,
            "secure": secure,
            "username": unquote(parts.username or "default"),
            "defaultDatabase": parts.path.strip("/") or "default",
        },
    }
    if parts.password:
        source["secureJsonData"] = {"password": unquote(parts.password)}
    return source


def contact_point(alertmanager_url: str, webhook_url: str) -> dict[str, Any] | None:
    """Where Grafana's own alerts go: our Alertmanager, else our webhook, else nowhere of ours."""
    if alertmanager_url:
        kind, where = "prometheus-alertmanager", {"url": alertmanager_url}
    elif webhook_url:
        kind, where = "webhook", {"url": webhook_url, "httpMethod": "POST"}
    else:
        return None
    return {
        "uid": "springtide-contact",
        "name": CONTACT_POINT,
        "type": kind,
        "settings": where,
        "disableResolveMessage": False,
    }
