"""Benchmarks run on demand: `make nightly`, or `pytest tests/benchmarks --run-nightly`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from infra.local.supervisor import ProcessSpec
from infra.settings import load_settings
from streams.demo_parts import Parts


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--run-nightly", action="store_true", help="run the benchmarks (minutes)")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--run-nightly", default=False):
        return
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.skip(reason="a benchmark: pass --run-nightly"))


class _Fragile(Parts):
    """What ends is not started again."""

    def _spec(self, name: str, command: tuple[str, ...], restarts: int) -> ProcessSpec:
        return super()._spec(name, command, restarts=0)


@pytest.fixture(scope="module")
def parts(kafka_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Parts]:
    folder = tmp_path_factory.mktemp("fuzzed")
    started = _Fragile(folder, "kafka", load_settings(kafka_home=kafka_home))
    started.start()
    yield started
    started.stop()
