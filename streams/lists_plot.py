"""Plots of an evaluation: the running HR@10 and NDCG@10 of all methods, as PNG or as a page."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping, Sequence
from math import isnan
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from infra.settings import UserError

if TYPE_CHECKING:
    from online.arrays import F64, I32
    from online.prequential import Evaluated
    from online.prequential_stream import Stream

POINTS = 240
WINDOWS = 25  # the moving mean goes over the stream's length divided by this
# Colours that stay apart for the colour-blind (Okabe and Ito's, and some of Tol's).
COLOURS = (
    "#d55e00", "#0072b2", "#56b4e9", "#009e73", "#cc79a7", "#e69f00",
    "#332288", "#117733", "#882255", "#999933", "#777777", "#aa4499",
)  # fmt: skip
METRICS = ("HR@10", "NDCG@10")


class Curves(msgspec.Struct, frozen=True):
    """What a plot shows.

    Attributes:
        title: of the file; window: events that a point is the mean of; half: where the last half
            begins.
        events: x of every point.
        lines: per metric, per method, best first: y of every point.
    """

    title: str
    window: int
    half: int
    events: list[int]
    lines: dict[str, dict[str, list[float | None]]]


def check_plots(files: Sequence[Path]) -> None:
    """Complain before the run, not after it.

    Raises:
        UserError: a plot can be neither PNG nor HTML, or cannot be drawn or written.
    """
    for file in files:
        if file.suffix not in {".png", ".html"}:
            raise UserError(f"--plot {file}: the name must end in .png or .html")
        if file.suffix == ".png" and not importlib.util.find_spec("matplotlib"):
            raise UserError(f"--plot {file}: pip install 'springtide[evaluate]', or plot .html")
        if not file.absolute().parent.is_dir():
            raise UserError(f"--plot {file}: there is no folder {file.absolute().parent}")


def write_plots(
    files: Sequence[Path],
    title: str,
    stream: Stream,
    evaluated: Mapping[str, Evaluated],
    report: Mapping[str, Any],
) -> None:
    """Draw what was asked for.

    Raises:
        UserError: a file cannot be written.
    """
    if not files:
        return
    from streams.lists_page import page

    curves = running_curves(title, evaluated)
    for file in files:
        try:
            if file.suffix == ".png":
                draw(curves, file)
            else:
                file.write_text(page(curves, report), "utf-8")
        except OSError as error:
            raise UserError(f"--plot {file}: cannot be written ({error.strerror})") from None


def running_curves(title: str, evaluated: Mapping[str, Evaluated]) -> Curves:
    """Moving means of all methods, the best of the last half first."""
    import numpy as np

    from online.prequential_metrics import gains, hits, running

    n = max(len(found.ranks) for found in evaluated.values())
    window = max(1, n // WINDOWS)

    def last(name: str) -> float:
        ranks = evaluated[name].ranks[n // 2 :]
        return float(gains(ranks[ranks > 0]).sum())

    def values(of: Any, ranks: I32) -> F64:
        return np.where(ranks > 0, of(np.maximum(ranks, 1)), np.nan)

    events: list[int] = []
    lines: dict[str, dict[str, list[float | None]]] = {}
    for metric, of in zip(METRICS, (hits, gains), strict=True):
        lines[metric] = {}
        for name in sorted(evaluated, key=last, reverse=True):
            at, means = running(values(of, evaluated[name].ranks), window, POINTS)
            events = at.tolist()
            lines[metric][name] = [None if isnan(y) else round(y, 5) for y in means.tolist()]
    return Curves(title, window, n // 2, events, lines)


def colour(name: str, names: Sequence[str]) -> str:
    """The learner's own colour, and one for each peer."""
    peers = sorted(set(names) - {"springtide"})
    if name == "springtide":
        return COLOURS[0]
    return COLOURS[1 + peers.index(name) % (len(COLOURS) - 1)]


def draw(curves: Curves, file: Path) -> None:
    """A PNG with one panel a metric, every line named at its end."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 9.5), layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(
        f"{curves.title}: every event ranked among all items, then learned", fontsize=13
    )
    for axes, (metric, methods) in zip(
        figure.subplots(2, 1, sharex=True), curves.lines.items(), strict=True
    ):
        _panel(axes, curves, metric, methods)
    axes.set_xlabel(f"events (each point: the mean of the last {curves.window:,})")
    figure.savefig(file, dpi=110)


def _panel(
    axes: Any, curves: Curves, metric: str, methods: Mapping[str, list[float | None]]
) -> None:
    import numpy as np
    from matplotlib.ticker import StrMethodFormatter

    names = list(methods)
    ends = []
    for name, line in methods.items():
        y = np.array([np.nan if v is None else v for v in line])
        ours = name == "springtide"
        axes.plot(
            curves.events, y, color=colour(name, names),
            linewidth=2.6 if ours else 1.3, zorder=3 if ours else 2,
        )  # fmt: skip
        finite = y[np.isfinite(y)]
        ends.append(float(finite[-1]) if len(finite) else 0.0)
    axes.axvline(curves.half, color="#888888", linewidth=0.8, linestyle=":")
    axes.set_ylim(bottom=0)
    axes.set_ylabel(metric)
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    axes.margins(x=0)
    top = axes.get_ylim()[1]
    for name, end, place in zip(names, ends, spread(ends, top / 24, top), strict=True):
        axes.annotate(
            f"{name}  {end:.3f}".replace("0.", "."), xy=(1, end / top), xycoords="axes fraction",
            xytext=(1.03, place / top), textcoords="axes fraction", va="center", fontsize=9,
            color=colour(name, names), weight="bold" if name == "springtide" else "normal",
            arrowprops={
                "arrowstyle": "-", "color": colour(name, names), "linewidth": 0.6,
                "relpos": (0, 0.5), "shrinkB": 0,
            },
            annotation_clip=False,
        )  # fmt: skip
    axes.annotate("last half", xy=(curves.half, top), xytext=(4, -10), textcoords="offset points",
                  fontsize=8, color="#888888")  # fmt: skip


def spread(wanted: Sequence[float], apart: float, top: float) -> list[float]:
    """Places for labels as near as can be to where they belong, none nearer than `apart`."""
    order = sorted(range(len(wanted)), key=lambda i: wanted[i])
    places = [0.0] * len(wanted)
    lowest = 0.0
    for i in order:
        places[i] = lowest = max(wanted[i], lowest)
        lowest += apart
    highest = top
    for i in reversed(order):
        places[i] = min(places[i], highest)
        highest = places[i] - apart
    return places
