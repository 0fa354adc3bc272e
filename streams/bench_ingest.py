"""How many events a core takes: a backlog on a real broker, worked off by the real worker.

The backlog is written first. For each setting the worker starts on it, with a checkpoint folder of
its own; per core = events ÷ its CPU seconds of all threads, from /proc, between its readiness and
the checkpoint that holds the last event. The events are counted from outside: what the checkpoint's
additive statistics sum to, or the offsets in it where nothing is learned; for the plain Faust
agent, the offsets that its group has committed.
"""

from __future__ import annotations

import os
import shutil
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from infra.local.broker import BrokerChoice
from infra.local.stack import LocalStack
from infra.local.supervisor import ProcessSpec, Supervisor
from infra.security import kafka_servers
from infra.settings import Settings, UserError
from streams import topics
from streams.bench_backlog import INTERACTIONS, BacklogOptions, write_backlog
from streams.bench_plain import GROUP
from streams.components import Components

LOOK_SECONDS = 0.25
MOST_SECONDS = 180.0
PLAIN = "plain-faust"
SETTINGS: dict[str, Components] = {
    "decode": Components("off", "off", archive=False, deduplicate=False),
    "deduplicate": Components("off", "off", archive=False),
    "statistics": Components("statistics", "off", archive=False),
    "everything": Components(),
    "list-per-event": Components("all", "each"),
}
DOES = {
    PLAIN: "a Faust agent with Faust's JSON codec: nothing is checked, all is acknowledged",
    "decode": "fetched, decoded into structs, checked, acknowledged with the checkpoint",
    "deduplicate": "and each id looked up among the partition's last 100,000",
    "statistics": "and popularity, recency, co-occurrence and transitions learned",
    "everything": "and ranked, factors and blend learned, lists coalesced into Redis, archived",
    "list-per-event": "everything, and after each event its user's list, whoever comes next",
}

Progress = Callable[[str, float], None]


class IngestOptions(Struct, frozen=True):
    """What to measure."""

    events: int = 100_000
    users: int = 10_000
    items: int = 1_000
    runs: int = 5
    settings: tuple[str, ...] = tuple(DOES)
    broker: BrokerChoice = "auto"


def bench_ingest(
    options: IngestOptions, settings: Settings, folder: Path, progress: Progress = lambda *_: None
) -> dict[str, Any]:
    """Events per second and per core second, of every setting, the medians of the runs.

    `per_second` and `per_core_second` are those of "everything", where it is among the settings.

    Args:
        folder: new or empty.

    Raises:
        UserError: a part does not start, or a backlog is not worked off in 180 s.
    """
    names = options.settings
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in names}
    with LocalStack(folder, options.broker, settings.kafka_folder) as stack:
        bench = _Bench(stack, folder, options)
        for number in range(options.runs):
            for at, name in enumerate(names):
                progress(name, (number + at / len(names)) / options.runs)
                found[name].append(bench.run(name, f"{name}-{number}"))
    per_core = {n: statistics.median(cpu for _, cpu in runs) for n, runs in found.items()}
    plain = per_core.get(PLAIN)
    headline = "everything" if "everything" in names else names[-1]
    ours = {name: rate for name, rate in per_core.items() if name != PLAIN}
    return {
        "per_second": round(statistics.median(wall for wall, _ in found[headline])),
        "per_core_second": round(per_core[headline]),
        "settings": {name: round(rate) for name, rate in ours.items()},
        "peers": {PLAIN: round(plain)} if plain else {},
        "ratio": {name: round(rate / plain, 2) for name, rate in ours.items()} if plain else {},
        "each_run": {name: [round(cpu) for _, cpu in runs] for name, runs in found.items()},
        "does": {name: DOES[name] for name in options.settings},
        "broker": stack.broker,
        "components": {name: msgspec.to_builtins(SETTINGS[name]) for name in ours},
        "events": options.events,
        "users": options.users,
        "items": options.items,
        "runs": options.runs,
    }


class _Bench:
    def __init__(self, stack: LocalStack, folder: Path, options: IngestOptions) -> None:
        from infra import warehouse

        self._stack, self._folder = stack, folder
        topics.apply(stack.kafka_url)
        warehouse.migrate(stack.clickhouse_url)
        backlog = BacklogOptions(options.events, options.users, options.items)
        self._counts = write_backlog(stack.kafka_url, backlog)

    def run(self, name: str, run: str) -> tuple[float, float]:
        """Events per second, and per CPU second of the worker."""
        data = self._folder / run
        events = sum(self._counts.values())
        with Supervisor(self._folder / "logs") as supervisor:
            supervisor.start(self._spec(name, run, data), timeout_seconds=120.0)
            pid = supervisor.pid(run)
            began, cpu = time.monotonic(), cpu_seconds(pid)
            done = self._committed if name == PLAIN else lambda: self._kept(name, data)
            while done() < events:
                if time.monotonic() - began > MOST_SECONDS or supervisor.failed():
                    raise UserError(
                        f"{name} did not work off the backlog: {supervisor.log_of(run)}"
                    )
                time.sleep(LOOK_SECONDS)
            wall, used = time.monotonic() - began, cpu_seconds(pid) - cpu
        self._forget_group()
        shutil.rmtree(data, ignore_errors=True)
        return events / wall, events / used

    def _spec(self, name: str, run: str, data: Path) -> ProcessSpec:
        if name != PLAIN:
            return worker_spec(self._stack, run, data, SETTINGS[name])
        data.mkdir(parents=True)
        servers = ",".join(kafka_servers(self._stack.kafka_url))
        plain = ("-m", "streams.bench_plain", servers, ",".join(INTERACTIONS), str(data))
        return ProcessSpec(
            name=run,
            command=(sys.executable, *plain),
            environment={**self._stack.environment(), "SPRINGTIDE_DATA_DIR": str(data)},
            announces=True,
        )

    def _kept(self, name: str, data: Path) -> int:
        """Events that a fresh reader finds in the checkpoint."""
        from streams.commands.checkpoints import summarise

        kept = summarise(str(data / "checkpoints"))
        if SETTINGS[name].learner != "off":
            return int(kept["events_learned"] + kept["duplicates"] + kept["ignored"])
        places = [f"{topic}/{partition}" for topic, partition in self._counts]
        return sum(kept["offsets"].get(place, -1) + 1 for place in places)

    def _committed(self) -> int:
        with _admin(self._stack.kafka_url) as admin:
            offsets = admin.list_group_offsets([GROUP])[GROUP]
        return sum(max(0, place.offset) for place in offsets.values())

    def _forget_group(self) -> None:
        """So that the next run finds the whole backlog again."""
        with _admin(self._stack.kafka_url) as admin:
            admin.delete_groups(["springtide", GROUP])


def worker_spec(stack: LocalStack, name: str, data: Path, components: Components) -> ProcessSpec:
    """The worker with these parts, and its folder: a new one, or that of the others."""
    data.mkdir(parents=True, exist_ok=True)
    parts = msgspec.json.encode(components).decode()
    return ProcessSpec(
        name=name,
        command=(sys.executable, "-m", "streams.bench_worker", parts),
        environment={**stack.environment(), "SPRINGTIDE_DATA_DIR": str(data)},
        announces=True,
    )


def cpu_seconds(pid: int) -> float:
    """User and system time of all threads of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _admin(kafka_url: str) -> Any:
    from contextlib import closing

    from kafka import KafkaAdminClient

    from infra.security import kafka_client

    return closing(KafkaAdminClient(**kafka_client(kafka_url)))
