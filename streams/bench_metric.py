"""What a running worker says of itself, for benches that need to know: a metric of its /metrics."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.request import urlopen

if TYPE_CHECKING:
    from prometheus_client.samples import Sample


def read_metric(url: str, name: str) -> list[Sample]:
    """The metric's samples, one for each set of labels.

    Raises:
        OSError: the worker does not answer.
    """
    from prometheus_client.parser import text_string_to_metric_families

    with urlopen(f"{url}/metrics", timeout=10) as answer:
        families = text_string_to_metric_families(answer.read().decode())
        return [one for family in families for one in family.samples if one.name == name]
