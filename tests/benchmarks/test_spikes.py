"""The detectors' certificate and calibration, nightly: half an hour on one core."""

from __future__ import annotations

import csv
import gzip
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from online.spikes import SpikeMonitor
from online.spikes_nulls import null_counts, null_stream
from online.spikes_peers import PEERS, tuned
from online.spikes_replays import Stream
from online.spikes_scores import NOTHING, Scores, scored, upper95
from online.spikes_simulate import Platform, platform, stream

pytestmark = [pytest.mark.data, pytest.mark.timeout(3600)]

KEYS = 2_000
NAMES = [f"item:{i}" for i in range(KEYS)]
# Files of labels and how their negatives are written.
LABELS = (
    ("sent-zh-htl/reviews.csv.gz", "0"),
    ("sent-zh-shopping10/reviews.csv.gz", "0"),
    ("sent-en-sst2/train.csv.gz", "0"),
    ("sent-en-tweet3/test.csv.gz", "0"),
    ("stream-en-airline/tweets.csv.gz", "negative"),
)
HALF_A_DAY = 43_200.0


def negative_labels(folder: Path) -> list[npt.NDArray[np.bool_]]:
    """Of every file that is there."""
    found = []
    for name, negative in LABELS:
        if not (folder / name).is_file():
            continue
        with gzip.open(folder / name, "rt", encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        column = next(c for c in ("airline_sentiment", "label", "sentiment") if c in rows[0])
        found.append(np.array([row[column] == negative for row in rows]))
    assert len(found) >= 3
    return found


@pytest.mark.parametrize(("correlation", "flood"), [(0.0, 0), (0.02, 0), (0.0, 500)])
def test_the_null_certificate(shared_dir: Path, correlation: float, flood: int) -> None:
    days = 200
    labels = negative_labels(shared_dir / "data")
    monitor, found = SpikeMonitor(1.0), set()
    counts = null_counts(labels, KEYS, days, 5, correlation)
    for each in null_stream(counts, 6, flood):
        raised = monitor.observe_columns(NAMES, each.negative, each.at, each.key, each.author)
        found |= {alarm.fingerprint for alarm in raised}
    print(f"{len(found)} false alarms, at most {upper95(len(found)) / days:.2f} a day")
    assert upper95(len(found)) / days <= 1.3


def run(made: Platform, volume: bool) -> tuple[Scores, Stream]:
    parts, alarms, told = [], [], set()
    monitor = SpikeMonitor(1.0, volume=volume)
    for each in stream(made):
        parts.append(each)
        for alarm in monitor.observe_columns(NAMES, each.negative, each.at, each.key, each.author):
            if alarm.state == "firing" and alarm.fingerprint not in told:
                told.add(alarm.fingerprint)
                alarms.append((int(alarm.key[5:]), alarm.raised_at))
    whole = Stream(
        tuple(NAMES),
        *(np.concatenate([getattr(p, n) for p in parts]) for n in ("key", "at", "negative")),
    )
    warm = made.warm_up * 300.0 + HALF_A_DAY
    return scored(alarms, made.spikes, whole.key, whole.at, KEYS, 1.0, warm), whole


@pytest.mark.parametrize(("correlation", "share_recall"), [(0.0, 0.62), (0.02, 0.58)])
def test_calibration(correlation: float, share_recall: float) -> None:
    share, both, rules = NOTHING, NOTHING, dict.fromkeys(PEERS, NOTHING)
    for seed in (1, 2, 3):
        made = platform(seed, KEYS, 200, correlation)
        found, whole = run(made, volume=False)
        share, both = share.plus(found), both.plus(run(made, volume=True)[0])
        warm = made.warm_up * 300.0 + HALF_A_DAY
        for name in PEERS:
            rules[name] = rules[name].plus(tuned(name, whole, made.spikes, 1.0, warm)[1])
    figures = {"share": share.figures(), "both": both.figures()}
    figures |= {name: rule.figures() for name, rule in rules.items()}
    alone = figures["share"]
    assert (alone["recall"] or 0) >= share_recall, figures
    assert (alone["precision"] or 0) >= 0.95, figures
    assert (alone["lorden_detectable_recall"] or 0) >= 0.9, figures
    assert (alone["delay_over_lorden"] or 9) <= 1.5, figures
    print(figures)
    best = max(rule.figures()["recall"] or 0 for rule in rules.values())
    assert (alone["recall"] or 0) >= best - 0.02, figures
