"""A real storm: tweets to six airlines, 16-24 February 2015, with the labels people gave."""

from __future__ import annotations

import csv
import gzip
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from online.spikes import Alarm, Observation, SpikeMonitor

pytestmark = pytest.mark.data

WINDOW = (
    datetime(2015, 2, 21, 12, tzinfo=UTC).timestamp(),
    datetime(2015, 2, 23, tzinfo=UTC).timestamp(),
)


class Tweets:
    """The file in order of time; `alarms` runs the detectors over it, budget 1 a day."""

    def __init__(self, path: Path) -> None:
        with gzip.open(path, "rt") as file:
            rows = sorted(csv.DictReader(file), key=lambda row: row["time"])
        times = [datetime.fromisoformat(row["time"]).replace(tzinfo=UTC) for row in rows]
        self.at = [time.timestamp() for time in times]
        self.airline = np.array([row["airline"] for row in rows])
        self.negative = np.array([row["airline_sentiment"] == "negative" for row in rows])
        self.days = (self.at[-1] - self.at[0]) / 86_400.0

    def alarms(self, negative: npt.NDArray[np.bool_]) -> list[Alarm]:
        """Firing ones."""
        columns = zip(self.airline, negative, self.at, strict=True)
        seen = [Observation(str(a), (), bool(n), 0, t) for a, n, t in columns]
        return [alarm for alarm in SpikeMonitor(1.0).observe(seen) if alarm.state == "firing"]

    def permuted(self, rng: np.random.Generator) -> npt.NDArray[np.bool_]:
        """Labels permuted within each airline, times kept."""
        labels = self.negative.copy()
        for airline in np.unique(self.airline):
            where = np.flatnonzero(self.airline == airline)
            labels[where] = labels[rng.permutation(where)]
        return labels


@pytest.fixture(scope="module")
def tweets(shared_dir: Path) -> Tweets:
    return Tweets(shared_dir / "data" / "stream-en-airline" / "tweets.csv.gz")


@pytest.mark.parametrize("airline", ["United", "US Airways"])
def test_the_storm_of_22_february_is_found(tweets: Tweets, airline: str) -> None:
    found = [a for a in tweets.alarms(tweets.negative) if a.key == f"item:{airline}"]
    assert any(WINDOW[0] <= alarm.started_at <= WINDOW[1] for alarm in found)


def test_permuted_labels_keep_the_budget(tweets: Tweets) -> None:
    rng = np.random.default_rng(0)
    runs = [tweets.alarms(tweets.permuted(rng)) for _ in range(20)]
    alarms = sum(len({alarm.fingerprint for alarm in run}) for run in runs)
    assert alarms / (20 * tweets.days) <= 1.0
