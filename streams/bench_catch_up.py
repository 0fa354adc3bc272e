"""How a backlog is caught up, and how long somebody who comes meanwhile waits for his list.

The backlog is written, then the workers start, one after the other; the clock runs from when the
first is ready. While they work, new users click, one a second, each into the next partition, and a
reader outside waits for their lists in Redis. Where they are in a partition comes from its
checkpoints, as a fresh reader finds them, between two of them in a straight line; their own lag
metric is held against that. A list may come after (records ahead in its partition ÷ the
partition's rate) + 1 s.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from msgspec import Struct, to_builtins

from infra.local.broker import BrokerChoice
from infra.local.stack import LocalStack
from infra.local.supervisor import Supervisor
from infra.security import kafka_client
from infra.serving_lists import list_key
from infra.settings import Settings, UserError
from streams import topics
from streams.bench_backlog import BacklogOptions, write_backlog
from streams.bench_ingest import cpu_seconds, worker_spec
from streams.bench_metric import read_metric
from streams.components import Components
from streams.events import Click, encode, user_key

LOOK_SECONDS = 0.05
PROBE_SECONDS = 1.0
GRACE_SECONDS = 1.0
MOST_SECONDS = 600.0

Place = tuple[str, int]
Progress = Callable[[str, float], None]


class CatchUpOptions(Struct, frozen=True):
    """What to measure."""

    events: int = 1_000_000
    users: int = 10_000
    items: int = 1_000
    workers: int = 1
    broker: BrokerChoice = "auto"


class Probe(Struct):
    """A fresh user's click. Times are epoch seconds; `listed_at` 0: his list is awaited.

    Attributes:
        lag: what the metric said of his partition just before he was sent; None: nothing yet.
    """

    user: str
    partition: int
    offset: int
    sent_at: float
    lag: float | None
    listed_at: float = 0.0


class Waited(Struct, frozen=True):
    """A probe held against the bound: records ahead by the checkpoints; seconds."""

    ahead: int
    lag_metric: int | None
    waited: float
    allowed: float


def bench_catch_up(
    options: CatchUpOptions, settings: Settings, folder: Path, progress: Progress = lambda *_: None
) -> dict[str, Any]:
    """Events a second, and what fresh users waited.

    Raises:
        UserError: a part does not start, or the backlog is not worked off in 10 minutes.
    """
    with LocalStack(folder, options.broker, settings.kafka_folder) as stack:
        from infra import warehouse

        topics.apply(stack.kafka_url)
        warehouse.migrate(stack.clickhouse_url)
        progress("writing the backlog", 0.0)
        backlog = BacklogOptions(options.events, options.users, options.items)
        counts = write_backlog(stack.kafka_url, backlog)
        with Supervisor(folder / "logs") as supervisor:
            run = _CatchUp(stack, counts, folder / "worker", supervisor, progress)
            for number in range(options.workers):
                run.start_worker(f"worker-{number + 1}")
            found = run.run()
    return {
        **found,
        "broker": stack.broker,
        "components": ["worker"] * options.workers + ["valkey", "clickhouse", stack.broker],
        "events": options.events,
        "users": options.users,
        "items": options.items,
    }


class _CatchUp:
    def __init__(
        self,
        stack: LocalStack,
        counts: dict[Place, int],
        data: Path,
        supervisor: Supervisor,
        progress: Progress,
    ) -> None:
        from kafka import KafkaProducer
        from redis import Redis

        self._stack, self._counts, self._data = stack, counts, data
        self._checkpoints = str(data / "checkpoints")
        self._supervisor, self._progress = supervisor, progress
        self._urls: dict[str, str] = {}
        self._began, self._cpu = 0.0, 0.0
        self._redis = Redis.from_url(stack.redis_url)
        self._producer = KafkaProducer(**kafka_client(stack.kafka_url), acks="all")
        self._probes: list[Probe] = []
        self._positions: dict[Place, list[tuple[float, int]]] = {}

    def start_worker(self, name: str) -> None:
        """They share their data, as all workers do; the clock starts with the first."""
        spec = worker_spec(self._stack, name, self._data, Components())
        self._urls[name] = str(self._supervisor.start(spec, timeout_seconds=120.0)["url"])
        self._cpu += cpu_seconds(self._supervisor.pid(name))
        self._began = self._began or time.time()

    def run(self) -> dict[str, Any]:
        """Look on until all is worked off and every probe has its list."""
        began = self._began
        self._positions = {place: [(began, 0)] for place in self._counts}
        total, done, looked = sum(self._counts.values()), 0, 0.0
        at_start = sum(self._lags().values())
        while done < total or not all(probe.listed_at for probe in self._probes):
            if time.time() - began > MOST_SECONDS or self._supervisor.failed():
                logs = ", ".join(str(self._supervisor.log_of(name)) for name in self._urls)
                raise UserError(f"not worked off: {logs}")
            if done < total and time.time() - began >= len(self._probes) * PROBE_SECONDS:
                self._send_probe()
            self._look_for_lists()
            if time.time() - looked > 0.25:
                looked, done = time.time(), self._look_at_checkpoint()
                self._progress("catching up", done / total)
            time.sleep(LOOK_SECONDS)
        used = sum(cpu_seconds(self._supervisor.pid(name)) for name in self._urls) - self._cpu
        seconds = self._ended() - began
        waited = [self._waited(probe, began) for probe in self._probes]
        time.sleep(2 * PROBE_SECONDS)  # the metric looks every second
        known = [one for one in waited if one.lag_metric is not None]
        off = [abs((one.lag_metric or 0) - one.ahead) for one in known]
        rates = [self._counts[place] / (self._reached(place) - began) for place in self._counts]
        return {
            "per_second": round(total / seconds),
            "per_core_second": round(total / used),
            "seconds": round(seconds, 1),
            "worst_beyond": round(max(one.waited - one.allowed for one in waited), 2),
            "kept": all(one.waited <= one.allowed for one in waited),
            "lag_at_start": round(at_start),
            "lag_at_end": round(sum(self._lags().values())),
            "lag_off_seconds": round(max(off, default=math.inf) / max(rates), 2),
            "waited": [to_builtins(one) for one in waited],
        }

    def _send_probe(self) -> None:
        number = len(self._probes)
        user, partition = f"fresh-{number}", number % topics.PARTITIONS
        click = Click(
            id=f"fresh-{number}", occurred_at=datetime.now(UTC), user_id=user, item_id="course-1"
        )
        lag = self._lags().get((topics.CLICKS, partition))
        sent_at = time.time()
        key, value = user_key(click.tenant, user), encode(click)
        future = self._producer.send(topics.CLICKS, value, key=key, partition=partition)
        offset = future.get(30).offset
        self._probes.append(Probe(user, partition, offset, sent_at, lag))

    def _look_for_lists(self) -> None:
        waiting = [probe for probe in self._probes if not probe.listed_at]
        if waiting:
            stored: Any = self._redis.mget([list_key("default", probe.user) for probe in waiting])
            for probe, value in zip(waiting, stored, strict=True):
                probe.listed_at = time.time() if value is not None else 0.0

    def _look_at_checkpoint(self) -> int:
        """Note where it is; returns how much of the backlog it holds."""
        from streams.commands.checkpoints import summarise

        kept = summarise(self._checkpoints)
        if kept["written_at"] is None:
            return 0
        at = datetime.fromisoformat(kept["written_at"]).timestamp()
        for place, known in self._positions.items():
            reached = kept["offsets"].get(f"{place[0]}/{place[1]}", -1) + 1
            if reached > known[-1][1]:
                known.append((max(at, known[-1][0] + 1e-3), reached))
        return sum(min(known[-1][1], self._counts[p]) for p, known in self._positions.items())

    def _reached(self, place: Place) -> float:
        """When the partition's backlog was worked off."""
        times, offsets = zip(*self._positions[place], strict=True)
        return float(np.interp(self._counts[place], offsets, times))

    def _ended(self) -> float:
        return max(self._reached(place) for place in self._counts)

    def _waited(self, probe: Probe, began: float) -> Waited:
        place = topics.CLICKS, probe.partition
        times, offsets = zip(*self._positions[place], strict=True)
        ahead = max(0.0, probe.offset - float(np.interp(probe.sent_at, times, offsets)))
        rate = self._counts[place] / (self._reached(place) - began)
        return Waited(
            round(ahead),
            None if probe.lag is None else round(probe.lag),
            round(probe.listed_at - probe.sent_at, 2),
            round(ahead / rate + GRACE_SECONDS, 2),
        )

    def _lags(self) -> dict[Place, float]:
        """The workers' own metric."""
        return {
            (one.labels["topic"], int(one.labels["partition"])): one.value
            for url in self._urls.values()
            for one in read_metric(url, "springtide_lag_records")
        }
