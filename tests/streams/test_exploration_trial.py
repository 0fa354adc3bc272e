"""Exploration on the simulated platform: new items are seen, and a replay gives the same lists."""

from __future__ import annotations

import numpy as np

from online.exploration import Rules
from streams.simulate import SPEED, SimulationConfig
from tests.streams.exploration_trial import run

DAY = 86_400.0


def test_new_items_are_seen_within_a_day_and_a_replay_is_the_same() -> None:
    config = SimulationConfig(
        users=60, items=60, rate=20.0, seconds=2 * DAY / SPEED, scandal_comments=0
    )
    first, again = run(config, Rules(every=20)), run(config, Rules(every=20))
    assert first.lists == again.lists
    assert any(slots for _, _, slots in first.lists)
    assert np.mean([hours <= 24 for hours in first.hours.values()]) >= 0.9
    assert first.most_off < 1e-6
    assert first.price < 0.05
    without = run(config, Rules(every=0))
    assert not any(slots for _, _, slots in without.lists)
    assert without.price == without.live_price == 0
    assert sum(first.organic.values()) >= 0
