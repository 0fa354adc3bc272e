"""What the workers' `/metrics` said lately, for the panels that show a metric."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from dashboards.panels import PANELS, Metric
from infra.telemetry import get_logger

if TYPE_CHECKING:
    import httpx

log = get_logger("dashboards")

EVERY_SECONDS = 2.0
ANSWER_SECONDS = 1.0
KEPT = 1_800  # samples: one hour
MOST_BYTES = 5_000_000

Samples = Sequence[tuple[float, Mapping[str, float]]]


class MetricHistory:
    """Asks every worker every two seconds; a worker that does not answer is left out."""

    def __init__(self, worker_urls: Sequence[str], client: httpx.AsyncClient) -> None:
        self._urls = [url.rstrip("/") + "/metrics" for url in worker_urls]
        self._client = client
        self._wanted = {p.source.name: p.source for p in PANELS if isinstance(p.source, Metric)}
        self._samples: dict[str, deque[tuple[float, dict[str, float]]]] = {
            name: deque(maxlen=KEPT) for name in self._wanted
        }
        self.answering = 0

    def samples(self, metric: Metric) -> Samples:
        """(Unix time, label value → sum over the workers), oldest first."""
        return list(self._samples[metric.name])

    async def run(self) -> None:
        """Sample for as long as the process lives."""
        while self._urls:
            answers = await asyncio.gather(*(self._ask(url) for url in self._urls))
            texts = [answer for answer in answers if answer is not None]
            if len(texts) != self.answering:
                log.info("workers.answering", workers=len(texts), configured=len(self._urls))
            self.answering = len(texts)
            if texts:
                self._take(texts)
            await asyncio.sleep(EVERY_SECONDS)

    async def _ask(self, url: str) -> str | None:
        import httpx

        try:
            answer = await self._client.get(url, timeout=ANSWER_SECONDS)
        except (httpx.HTTPError, httpx.InvalidURL):
            return None
        usable = answer.status_code == httpx.codes.OK and len(answer.content) <= MOST_BYTES
        return answer.text if usable else None

    def _take(self, texts: Sequence[str]) -> None:
        sums: dict[str, dict[str, float]] = {name: {} for name in self._wanted}
        for text in texts:
            for name, by_label in read_metrics(text, self._wanted).items():
                for label, value in by_label.items():
                    sums[name][label] = sums[name].get(label, 0.0) + value
        now = time.time()
        for name, by_label in sums.items():
            self._samples[name].append((now, by_label))


def read_metrics(text: str, wanted: Mapping[str, Metric]) -> dict[str, dict[str, float]]:
    """Metric name → label value → value, from the Prometheus text format.

    What is not of that format reads as nothing.
    """
    from prometheus_client.parser import text_string_to_metric_families

    # Parsing is what costs: only the lines we want.
    lines = [line for line in text.splitlines(True) if line.startswith(tuple(wanted))]
    found: dict[str, dict[str, float]] = {}
    try:
        for family in text_string_to_metric_families("".join(lines)):
            for sample in family.samples:
                metric = wanted.get(sample.name)
                if metric is not None:
                    key = sample.labels.get(metric.label, "")
                    found.setdefault(sample.name, {})[key] = sample.value
    except ValueError:
        return {}
    return found
