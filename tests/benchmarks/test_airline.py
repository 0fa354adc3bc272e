"""The storm of 22 February 2015, told by a classifier that never saw a tweet to an airline.

Trains that classifier first (a quarter of an hour on two cores), unless SPRINGTIDE_FOREIGN_MODEL
names one that `springtide train sentiment --without stream-en-airline` has made.
"""

from __future__ import annotations

import csv
import gzip
import json
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.classifier import Classifier
from models.trunk import default_cache_dir, trunk_folder
from online.spikes import Observation, SpikeMonitor, author_hash

pytestmark = [pytest.mark.data, pytest.mark.kafka, pytest.mark.timeout(3600)]

Row = dict[str, str]
SPRINGTIDE = (sys.executable, "-m", "streams.cli")
WINDOW = ("2015-02-21T12:00:00Z", "2015-02-23T00:00:00Z")
REPLAYS, REPLAYS_ON_REAL_PARTS = 20, 2


@pytest.fixture(scope="module")
def model(shared_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    given = os.environ.get("SPRINGTIDE_FOREIGN_MODEL")
    if given:
        return Path(given)
    out = tmp_path_factory.mktemp("model") / "foreign"
    options = ("--without", "stream-en-airline", "--data", str(shared_dir / "data"))
    subprocess.run([*SPRINGTIDE, "train", "sentiment", *options, "--out", str(out)], check=True)
    return out


@pytest.fixture(scope="module")
def tweets(shared_dir: Path) -> list[Row]:
    path = shared_dir / "data" / "stream-en-airline" / "tweets.csv.gz"
    with gzip.open(path, "rt", encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def permuted(rows: list[Row], column: list[Any], rng: np.random.Generator) -> list[Any]:
    """A column permuted within each airline."""
    airlines = np.array([row["airline"] for row in rows])
    shuffled = list(column)
    for airline in np.unique(airlines):
        places = np.flatnonzero(airlines == airline)
        for place, source in zip(places, rng.permutation(places), strict=True):
            shuffled[place] = column[source]
    return shuffled


def replay(path: Path, model: Path, kafka_home: Path) -> dict[str, Any]:
    """The summary of a demo on the real Kafka."""
    options = ("--type", "comment", "--map", "item=airline,text=text,time=time", "--json")
    found = subprocess.run(
        [*SPRINGTIDE, "demo", "--events", str(path), *options, "--broker", "kafka"],
        env={**os.environ, "KAFKA_HOME": str(kafka_home), "SPRINGTIDE_MODEL": str(model)},
        stdout=subprocess.PIPE,
        check=True,
    )
    summary: dict[str, Any] = json.loads(found.stdout)
    return summary


def days(rows: list[Row]) -> float:
    first, *_, last = (datetime.fromisoformat(row["time"]) for row in rows)
    return (last - first).total_seconds() / 86_400


def test_united_and_us_airways_alert_in_the_storm(
    shared_dir: Path, model: Path, kafka_home: Path
) -> None:
    path = shared_dir / "data" / "stream-en-airline" / "tweets.csv.gz"
    summary = replay(path, model, kafka_home)
    assert summary["balanced"] and summary["comments_scored"] == 14_640
    for airline in ("United", "US Airways"):
        starts = [a["started_at"] for a in summary["alerts"] if a["key"] == f"item:{airline}"]
        assert any(WINDOW[0] <= start <= WINDOW[1] for start in starts), summary["alerts"]


def test_permuted_texts_keep_the_budget(model: Path, tweets: list[Row]) -> None:
    classifier = Classifier(trunk_folder(default_cache_dir()), model)
    negative = [answer.negative for answer in classifier.predict([row["text"] for row in tweets])]
    at = [datetime.fromisoformat(row["time"]).replace(tzinfo=UTC).timestamp() for row in tweets]
    rng = np.random.default_rng(0)
    incidents = 0
    for _ in range(REPLAYS):
        columns = zip(tweets, permuted(tweets, negative, rng), at, strict=True)
        seen = [
            Observation(row["airline"], (), p, author_hash(str(number)), when)
            for number, (row, p, when) in enumerate(columns)
        ]
        incidents += len({a.fingerprint for a in SpikeMonitor(1.0).observe(seen)})
    assert incidents / REPLAYS / days(tweets) <= 1.0, incidents


def test_the_real_parts_say_the_same_of_permuted_texts(
    model: Path, tweets: list[Row], kafka_home: Path, tmp_path: Path
) -> None:
    rng = np.random.default_rng(1)
    alerts = 0
    for number in range(REPLAYS_ON_REAL_PARTS):
        path = tmp_path / f"permuted-{number}.csv"
        texts = permuted(tweets, [row["text"] for row in tweets], rng)
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["time", "airline", "text"])
            rows = zip(tweets, texts, strict=True)
            writer.writerows((row["time"], row["airline"], text) for row, text in rows)
        summary = replay(path, model, kafka_home)
        assert summary["balanced"]
        alerts += len(summary["alerts"])
    assert alerts / REPLAYS_ON_REAL_PARTS / days(tweets) <= 1.0, alerts
