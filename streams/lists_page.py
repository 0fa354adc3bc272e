"""The page of an evaluation: one HTML file with everything in it, to be opened or mailed."""

from __future__ import annotations

import html
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

import dashboards

if TYPE_CHECKING:
    from streams.lists_plot import Curves

TEMPLATE = Path(__file__).with_name("lists_page.html")
VENDOR = Path(dashboards.__file__).parent / "static" / "vendor"


def page(curves: Curves, report: Mapping[str, Any]) -> str:
    """The HTML: lines that can be hidden, values under the cursor, and the table."""
    from streams.lists_plot import METRICS, colour

    names = list(curves.lines[METRICS[0]])
    data = msgspec.json.encode(
        {
            "curves": curves,
            "colours": {name: colour(name, names) for name in names},
            "report": {k: report[k] for k in ("events", "users", "items", "methods", "ratios")},
        }
    ).decode()
    filled = TEMPLATE.read_text("utf-8")
    for place, content in (
        ("/*title*/", html.escape(curves.title)),
        ("/*uplot-css*/", (VENDOR / "uPlot.min.css").read_text("utf-8")),
        ("/*uplot-js*/", (VENDOR / "uPlot.iife.min.js").read_text("utf-8")),
        ("/*data*/", data.replace("<", "\\u003c")),  # no text may end the script
    ):
        filled = filled.replace(place, content)
    return filled
