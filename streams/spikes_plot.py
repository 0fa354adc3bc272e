"""One page of the share of negative comments by hour, and what would have fired."""

from __future__ import annotations

from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from online.spikes_replays import Stream

MOST_KEYS = 20
WIDTH, HEIGHT = 900, 120
BINS = 200
PAGE = (
    "<!doctype html><meta charset=utf-8><title>{title}</title><style>"
    "body{{font:14px system-ui;margin:2em;color-scheme:light dark}}"
    "path{{fill:none;stroke:#3b82c4}}rect{{fill:#d33;opacity:.35}}svg{{border:1px solid #8884}}"
    "</style><h1>{title}</h1><p>Share of negative comments; red: alarms, from start to raised.</p>"
)


def write_plot(path: Path, title: str, stream: Stream, found: dict[str, Any]) -> None:
    """Keys with the most comments first, those with alarms before them."""
    import numpy as np

    alerts: dict[str, list[dict[str, Any]]] = {}
    for alert in found["alerts"]:
        alerts.setdefault(alert["key"].partition(":")[2], []).append(alert)
    sizes = np.bincount(stream.key, minlength=len(stream.names))
    order = sorted(
        range(len(stream.names)), key=lambda k: (stream.names[k] not in alerts, -sizes[k])
    )
    parts = [PAGE.format(title=escape(title))]
    for key in order[:MOST_KEYS]:
        name = stream.names[key]
        parts.append(f"<h3>{escape(name)}</h3>{_chart(stream, key, alerts.get(name, []))}")
    path.write_text("\n".join(parts), encoding="utf-8")


def _chart(stream: Stream, key: int, alerts: list[dict[str, Any]]) -> str:
    import numpy as np

    start, end = float(stream.at[0]), float(stream.at[-1]) + 1.0
    mine = stream.key == key
    place = ((stream.at[mine] - start) / (end - start) * BINS).astype(np.int64)
    count = np.bincount(place, minlength=BINS)
    total = np.bincount(place, stream.negative[mine], BINS)
    points = [
        f"{i * WIDTH / BINS:.1f},{HEIGHT * (1 - total[i] / count[i]):.1f}"
        for i in np.flatnonzero(count).tolist()
    ]
    scale = WIDTH / (end - start)
    marks = "".join(
        f'<rect x="{(a["started_at"] - start) * scale:.1f}" y="0" height="{HEIGHT}" '
        f'width="{max(2.0, (a["raised_at"] - a["started_at"]) * scale):.1f}"/>'
        for a in alerts
    )
    line = f'<path d="M{" L".join(points)}"/>' if points else ""
    return f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}">{marks}{line}</svg>'
