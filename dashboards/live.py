"""A panel's data now: from ClickHouse or the workers' samples, in the shape that charts take.

However many pages are open, a panel is asked for once a step and once at a time.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any, Protocol

from msgspec import Struct

from dashboards.metric_history import MetricHistory
from dashboards.panels import Metric, Panel, Promql, Sql

WINDOWS = {300: 2, 3_600: 30, 86_400: 600}  # seconds shown → seconds a point
SMOOTH_SECONDS = 60
SMOOTH_STEPS = 10
# The archive writes every half second: a step is asked for when its rows are there.
SETTLE_SECONDS = 1.0
MOST_KEPT = 256
AT_ONCE = 4


class Asks(Protocol):
    """What is needed of `infra.warehouse.Warehouse`."""

    def query(self, sql: str, parameters: Mapping[str, Any] | None = None) -> list[dict[str, Any]]:
        """Rows as dicts."""


class Line(Struct, frozen=True):
    """One series: a value for each time of its `Chart`; None is a gap."""

    key: str
    values: list[float | None]


class Chart(Struct, frozen=True):
    """A panel's data: `times` in Unix seconds, ascending and evenly spaced."""

    panel: str
    times: list[int]
    lines: list[Line]


class Span(Struct, frozen=True):
    """The time shown, cut to whole steps: since ≤ t < until, Unix seconds."""

    since: int
    until: int
    step: int

    @property
    def times(self) -> range:
        """The start of each step."""
        return range(self.since, self.until, self.step)

    def parameters(self, tenant: str) -> dict[str, Any]:
        """What a panel's SQL needs."""
        return {
            "tenant": tenant,
            "since": datetime.fromtimestamp(self.since, UTC),
            "until": datetime.fromtimestamp(self.until, UTC),
            "step": self.step,
            "smooth": max(SMOOTH_SECONDS, SMOOTH_STEPS * self.step),
        }


def span(window_seconds: int, now: float) -> Span:
    """The newest whole steps of one of `WINDOWS`."""
    step = WINDOWS[window_seconds]
    until = int((now - SETTLE_SECONDS) // step) * step
    return Span(until - window_seconds // step * step, until, step)


class Live:
    """Charts of panels, kept for the step they belong to."""

    def __init__(self, warehouse: Asks, metrics: MetricHistory) -> None:
        self._warehouse = warehouse
        self._metrics = metrics
        self._threads = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="dashboards")
        self._kept: OrderedDict[tuple[str, str, int], tuple[Span, asyncio.Task[Any]]] = (
            OrderedDict()
        )

    async def chart(self, panel: Panel, tenant: str, window_seconds: int) -> Chart:
        """The panel's data for the newest `window_seconds`, which is one of `WINDOWS`.

        Raises:
            TransientError: ClickHouse is away.
        """
        wanted = span(window_seconds, time.time())
        if isinstance(panel.source, Metric):
            samples = self._metrics.samples(panel.source)
            return Chart(panel.id, list(wanted.times), sampled(samples, wanted, panel))
        if isinstance(panel.source, Promql):
            raise TypeError(f"{panel.id}: only Grafana asks Prometheus")
        key = (tenant, panel.id, window_seconds)
        kept = self._kept.get(key)
        if kept is None or kept[0] != wanted:
            kept = wanted, asyncio.create_task(self._ask(panel, panel.source, tenant, wanted))
            self._kept[key] = kept
            if len(self._kept) > MOST_KEPT:
                self._kept.popitem(last=False)
        try:
            chart: Chart = await asyncio.shield(kept[1])
        except Exception:
            if self._kept.get(key) is kept:
                del self._kept[key]
            raise
        return chart

    async def query(self, sql: str, parameters: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Ask ClickHouse in one of a bounded number of threads.

        Raises:
            TransientError: ClickHouse is away.
        """
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, self._warehouse.query, sql, parameters)

    def close(self) -> None:
        """No more questions; those that are under way end by themselves."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _ask(self, panel: Panel, source: Sql, tenant: str, wanted: Span) -> Chart:
        rows = await self.query(source.query, wanted.parameters(tenant))
        return Chart(panel.id, list(wanted.times), lines(rows, wanted, panel, source.absent))


def lines(
    rows: Iterable[Mapping[str, Any]], shown: Span, panel: Panel, absent: float | None
) -> list[Line]:
    """Rows of a panel's SQL as lines: known series first, then the heaviest of the others."""
    values: dict[str, dict[int, float]] = {series.key: {} for series in panel.series}
    weights: dict[str, float] = {}
    for row in rows:
        if "series" in row:
            points = {str(row["series"]): row["value"]}
            weights[str(row["series"])] = row.get("weight", 0.0)
        else:
            points = {name: value for name, value in row.items() if name != "t"}
        for key, value in points.items():
            if value is not None:
                values.setdefault(key, {})[int(row["t"])] = round(float(value), 6)
    known = [series.key for series in panel.series]
    others = sorted(values.keys() - set(known), key=lambda key: (-weights.get(key, 0.0), key))
    kept = known + sorted(others[: max(0, panel.most_series - len(known))])
    return [Line(key, [values[key].get(t, absent) for t in shown.times]) for key in kept]


def sampled(
    samples: Sequence[tuple[float, Mapping[str, float]]], shown: Span, panel: Panel
) -> list[Line]:
    """The largest sample of each step, by label value; a step without a sample is a gap."""
    values: dict[str, dict[int, float]] = {}
    for at, by_label in samples:
        step = int(at // shown.step) * shown.step
        for key, value in by_label.items():
            line = values.setdefault(key, {})
            line[step] = max(value, line.get(step, value))
    keys = sorted(values)[: panel.most_series]
    return [Line(key, [values[key].get(t) for t in shown.times]) for key in keys]
