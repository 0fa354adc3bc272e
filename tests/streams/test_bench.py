"""The bench's own clicks: steady, valid, and far enough apart that each is a clean probe."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from infra.settings import Settings
from streams.bench import BenchOptions, _Bench
from streams.demo_parts import Parts
from streams.events import Click
from streams.freshness import QUIET_SECONDS
from streams.sender import Outbound


@pytest.fixture
def clicks(tmp_path: Path) -> list[Outbound]:
    options = BenchOptions(rate=200, items=50)
    parts = Parts(tmp_path, "auto", Settings())
    return list(_Bench(options, parts, lambda *_: None)._stream(30.0))


def test_clicks_come_at_the_rate(clicks: list[Outbound]) -> None:
    assert len(clicks) == pytest.approx(6_000, rel=0.05)


def test_no_user_clicks_twice_within_the_quiet_time(clicks: list[Outbound]) -> None:
    latest: dict[str, float] = {}
    for click in clicks:
        assert click.at - latest.get(click.user, 0.0) > QUIET_SECONDS
        latest[click.user] = click.at


def test_every_click_is_an_event_of_its_own(clicks: list[Outbound]) -> None:
    decoded = [msgspec.json.decode(click.value, type=Click) for click in clicks]
    assert len({click.id for click in decoded}) == len(decoded)
