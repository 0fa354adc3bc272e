"""An alert names its slice, its terms and its comments."""

from __future__ import annotations

import csv
import gzip
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from online.spikes import Observation, SpikeMonitor
from online.spikes_slices import slices
from online.spikes_terms import contrastive, terms_of

VALUES = {
    "topic": ["a", "b", "c", "d"],
    "surface": ["app", "web", "mini"],
    "model_version": ["v1", "v2"],
    "language": ["en", "zh"],
}
LATENESS = {
    "late",
    "delay",
    "delays",
    "delayed",
    "hour",
    "hours",
    "hrs",
    "min",
    "minutes",
    "waiting",
}
SERVICE = {
    "service",
    "customer",
    "hold",
    "call",
    "called",
    "phone",
    "staff",
    "agent",
    "rude",
    "help",
}


def comment(rng: np.random.Generator) -> dict[str, str]:
    return {name: str(rng.choice(values)) for name, values in VALUES.items()}


def incident(rng: np.random.Generator) -> bool | None:
    """Whether the slice that rises from 20 to 70 % is named first; None: nothing would alert."""
    chosen = rng.choice(list(VALUES), int(rng.integers(1, 3)), replace=False)
    where = {str(name): comment(rng)[str(name)] for name in chosen}
    before = [(comment(rng), float(rng.random() < 0.2)) for _ in range(600)]
    spike = []
    for _ in range(int(rng.integers(40, 300))):
        each = comment(rng)
        inside = all(each[name] == value for name, value in where.items())
        spike.append((each, float(rng.random() < (0.7 if inside else 0.2))))
    alone = slices([(each, x) for each, x in spike], before, 0.2)
    x, n = sum(x for _, x in spike), len(spike)
    q = x / n
    evidence = x * np.log(q / 0.2) + (n - x) * np.log((1 - q) / 0.8) if q > 0.2 else 0.0
    return alone[0].attributes == where if evidence >= 14.0 else None


def test_the_slice_that_rose_is_named_first() -> None:
    rng = np.random.default_rng(3)
    found = [hit for hit in (incident(rng) for _ in range(90)) if hit is not None]
    assert len(found) >= 20 and np.mean(found) >= 0.9


def test_a_spike_that_is_everywhere_has_no_slice() -> None:
    rng = np.random.default_rng(0)
    before = [(comment(rng), float(rng.random() < 0.2)) for _ in range(600)]
    spike = [(comment(rng), float(rng.random() < 0.7)) for _ in range(150)]
    assert slices(spike, before, 0.2)[0].attributes == {}
    assert slices([], before, 0.2) == []


def test_terms_tell_the_spike_from_praise_in_both_languages() -> None:
    spike = [("课程打不开，退款也没人理", 1.0), ("视频打不开", 0.9), ("打不开！要求退款", 0.9)] * 3
    spike += [("refund me, the video never loads", 0.9), ("Video: refund!", 0.8)] * 3
    others = [("课程很好，老师讲得清楚", 1.0), ("great video course", 1.0)] * 20
    found = {term.term for term in contrastive(spike, others)}
    assert "refund" in found and "退款" in found and found & {"打不", "不开"}
    assert "课程" not in found and "video" not in found
    assert terms_of("@united http://x.y #fail 3 hours") == {"hours"}


@pytest.mark.data
@pytest.mark.parametrize("airline", ["United", "US Airways"])
def test_lateness_and_service_are_among_the_terms_of_the_storm(
    shared_dir: Path, airline: str
) -> None:
    with gzip.open(shared_dir / "data/stream-en-airline/tweets.csv.gz", "rt") as file:
        rows = sorted(csv.DictReader(file), key=lambda row: row["time"])
    at = [datetime.fromisoformat(row["time"]).replace(tzinfo=UTC).timestamp() for row in rows]
    bad = [float(row["airline_sentiment"] == "negative") for row in rows]
    seen = [Observation(r["airline"], (), x, 0, t) for r, x, t in zip(rows, bad, at, strict=True)]
    window = [datetime(2015, 2, 21, 12, tzinfo=UTC), datetime(2015, 2, 23, tzinfo=UTC)]
    alarm = next(
        a
        for a in SpikeMonitor().observe(seen)
        if a.key == f"item:{airline}"
        and window[0].timestamp() <= a.started_at <= window[1].timestamp()
    )
    ours = [i for i, row in enumerate(rows) if row["airline"] == airline]
    spike = [i for i in ours if alarm.started_at <= at[i] <= alarm.raised_at]
    before = [i for i in ours if at[i] < alarm.started_at]
    spike += before[-max(1, 100 - len(spike)) :]
    others = [i for i in range(len(rows)) if at[i] < alarm.started_at][-2_000:]
    terms = contrastive(
        [(rows[i]["text"], bad[i]) for i in spike],
        [(rows[i]["text"], 1.0 - bad[i]) for i in others],
        10,
        airline,
    )
    names = {term.term for term in terms}
    assert names & LATENESS and names & SERVICE, names
