"""A backtest of the detectors on a file: what would have fired, false alarms, injected spikes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from online.arrays import U64
from online.spikes import Alarm, Observation, SpikeMonitor
from online.spikes_peers import MOST_CELLS, PEERS, tuned
from online.spikes_replays import DAY, Stream, cell_of, injected, permuted
from online.spikes_scores import NOTHING, Scores, scored, upper95
from online.spikes_simulate import STEP_SECONDS

QUIET = 0.3  # part of a replay in which nothing is injected
SPIKES = 200  # in all replays together

Progress = Callable[[str, float], None]


def would_have_fired(stream: Stream, budget: float) -> list[Alarm]:
    """Alarms of the file as it is, all keys and the tenant; one an incident, at its first."""
    columns = zip(stream.key.tolist(), stream.negative.tolist(), stream.at.tolist(), strict=True)
    seen = [Observation(stream.names[k], (), x, 0, at) for k, x, at in columns]
    found: dict[str, Alarm] = {}
    for alarm in SpikeMonitor(budget).observe(seen):
        if alarm.state == "firing":
            found.setdefault(alarm.fingerprint, alarm)
    return list(found.values())


def item_alarms(stream: Stream, budget: float) -> list[tuple[int, float]]:
    """Alarms (key, epoch seconds) of the keys alone, one an incident."""
    nobody: U64 = np.zeros(len(stream.at), np.uint64)
    names = [f"item:{name}" for name in stream.names]
    index = {name: number for number, name in enumerate(names)}
    found: dict[str, tuple[int, float]] = {}
    monitor = SpikeMonitor(budget, max_keys=max(len(names), 1))
    for alarm in monitor.observe_columns(names, stream.negative, stream.at, stream.key, nobody):
        if alarm.state == "firing":
            found.setdefault(alarm.fingerprint, (index[alarm.key], alarm.raised_at))
    return list(found.values())


def evaluate(
    stream: Stream, budget: float, replays: int, peers: bool, progress: Progress = lambda *_: None
) -> dict[str, Any]:
    """The JSON of `springtide evaluate spikes`.

    Args:
        stream: at least one comment.
        budget: β, false alarms a day.
        replays: with permuted labels; as many again get spikes.
        progress: told what is being done, and which share of it is done.
    """
    rng = np.random.default_rng(0)
    alarms = would_have_fired(stream, budget)
    wrong, total, rules = 0, NOTHING, dict.fromkeys(PEERS, NOTHING)
    each = max(1, SPIKES // replays)
    tables = len(stream.names) * (stream.days * DAY / STEP_SECONDS + 1) <= MOST_CELLS
    for replay in range(replays):
        progress("replaying", replay / replays)
        null = permuted(stream, rng)
        wrong += len(would_have_fired(null, budget))
        spiked, spikes = injected(null, each, rng, QUIET)
        warm = stream.at[0] + QUIET * (stream.at[-1] - stream.at[0])
        total = total.plus(
            scored(item_alarms(spiked, budget), spikes, spiked.key, spiked.at,
                   len(stream.names), budget, warm)
        )  # fmt: skip
        for name in PEERS if peers and tables else ():
            progress(name, replay / replays)
            rules[name] = rules[name].plus(tuned(name, spiked, spikes, budget, warm)[1])
    days = max(stream.days * replays, 1e-9)
    return {
        "comments": len(stream.at),
        "keys": len(stream.names),
        "days": stream.days,
        "alerts": [_alert(alarm) for alarm in alarms],
        "null": {
            "false_alarms_per_day": wrong / days,
            "upper95": upper95(wrong) / days,
            "days": days,
            "permuted_within": cell_of(stream)[1],
        },
        "injection": {**total.figures(), "spikes": total.spikes},
        "peers": {name: _rule(found, stream, replays) for name, found in rules.items()}
        if peers and tables
        else {},
    }


def _rule(found: Scores, stream: Stream, replays: int) -> dict[str, float | None]:
    days = max((1.0 - QUIET) * stream.days * replays, 1e-9)
    return {**found.figures(), "false_alarms_per_day": found.false_alarms / days}


def _alert(alarm: Alarm) -> dict[str, Any]:
    kept = ("key", "channel", "raised_at", "started_at", "evidence", "share", "baseline")
    values = alarm._asdict()
    return {**{name: values[name] for name in kept}, "severity": alarm.severity,
            "negatives": alarm.negatives, "comments": alarm.comments}  # fmt: skip
