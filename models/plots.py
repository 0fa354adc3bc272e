"""Confusion matrices and reliability diagrams, as PNG beside the model card."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from models.measures import Quality

CONFUSION, CALIBRATION = "confusion.png", "calibration.png"
COLUMNS, SIZE = 4, 3.0  # panels side by side, and inches of one
DARK = 0.5  # where white figures read better than black ones

Panel = Callable[[Any, str, Quality], None]


def can_draw() -> bool:
    """Whether matplotlib is installed."""
    return importlib.util.find_spec("matplotlib") is not None


def draw(folder: Path, measured: Mapping[str, Quality]) -> list[Path]:
    """Write both plots, a panel for each set; returns their paths.

    A confusion matrix shows, of the rows of a true label (down), the share answered each label
    (across). A reliability diagram (Guo et al., 1706.04599) shows the share of hits against the
    likeliest label's probability, in 15 bins, each dot as large as its rows are many.
    """
    return [
        _drawn(folder / CONFUSION, measured, _matrix),
        _drawn(folder / CALIBRATION, measured, _diagram),
    ]


def _drawn(path: Path, measured: Mapping[str, Quality], panel: Panel) -> Path:
    # Not pyplot, which keeps what it drew and looks for a screen.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    columns = min(COLUMNS, len(measured))
    rows = -(-len(measured) // columns)
    figure = Figure(figsize=(SIZE * columns, SIZE * rows), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(rows, columns, squeeze=False).flatten()
    for name, each, own in zip(measured, measured.values(), axes, strict=False):
        panel(own, name, each)
    for unused in axes[len(measured) :]:
        unused.set_axis_off()
    figure.savefig(path, dpi=90)
    return path


def _matrix(axes: Any, name: str, measured: Quality) -> None:
    labels = [each[:8] for each in measured.labels]
    places = range(len(labels))
    shares = [[cell / max(sum(row), 1) for cell in row] for row in measured.confusion]
    axes.imshow(shares, vmin=0, vmax=1, cmap="Blues")
    axes.set_title(name, fontsize=9)
    axes.set_xticks(places, labels, fontsize=7)
    axes.set_yticks(places, labels, fontsize=7, rotation=90, va="center")
    for down in places if len(labels) <= COLUMNS else ():
        for across in places:
            share = shares[down][across]
            colour = "white" if share > DARK else "black"
            axes.text(across, down, f"{share:.2f}", ha="center", va="center", color=colour)


def _diagram(axes: Any, name: str, measured: Quality) -> None:
    confidence, hits, rows = zip(*measured.reliability, strict=True)
    axes.plot([0, 1], [0, 1], color="#777777", linewidth=0.8)
    axes.scatter(confidence, hits, s=[4 + 120 * each / sum(rows) for each in rows], color="#0072b2")
    axes.set_title(f"{name}, ECE {measured.ece:.3f}", fontsize=9)
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1)
    axes.tick_params(labelsize=7)
