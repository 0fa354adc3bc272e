"""Exploration with the simulator's own sizes: a week, three seeds, one slot in twenty."""

from __future__ import annotations

import numpy as np

from online.exploration import Rules
from streams.simulate import SPEED, SimulationConfig
from tests.streams.exploration_trial import run

DAYS, DAY = 7, 86_400.0


def test_nearly_every_new_item_gets_its_views_at_a_small_price() -> None:
    trials = [
        run(SimulationConfig(seconds=DAYS * DAY / SPEED, seed=seed), Rules(every=20))
        for seed in (7, 8, 9)
    ]
    hours = np.concatenate([list(trial.hours.values()) for trial in trials])
    gain, given, live, live_with = (
        sum(getattr(trial, name) for trial in trials)
        for name in ("gain", "gain_with", "live", "live_with")
    )
    print(
        f"\n{len(hours)} new items: {np.mean(hours <= 24):.3f} had 100 views within 24 h, half of "
        f"them within {np.median(hours):.1f} h; "
        f"{np.mean([n >= 100 for t in trials for n in t.organic.values()]):.3f} had them without "
        f"the slots; NDCG@10 costs {1 - given / gain:.4f}, by the metric {1 - live_with / live:.4f}"
        f"; a list {trials[0].list_us:.0f} µs, its slots {trials[0].slot_us:.0f} µs"
    )
    assert np.mean(hours <= 24) >= 0.95
    assert 1 - given / gain <= 0.02
    assert max(trial.most_off for trial in trials) < 1e-6
