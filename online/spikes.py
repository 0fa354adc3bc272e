"""The spike detector: scored comments in, alarms out, at a stated rate of false ones.

Owns the keys of one tenant (`tenant`, `item:<id>`, `topic:<name>`), what is usual for each, and
the betting processes that tell a spike from chance. One knob, β false alarms a day: with K keys
and B = 288 steps a day an alarm needs evidence A = K·B/β (`spikes_bets` has the theorem).

Words: a *step* is five minutes of event time; the *clock* is the latest step seen and never goes
back, a late comment counts in the current step; the *bound* is the share that the null hypothesis
allows; *evidence* is the e-value, given as its log₁₀; an *incident* lasts from its alarm to its
resolution, and the baseline learns nothing from it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from online import spikes_baseline as baseline
from online import spikes_bets as bets
from online import spikes_keys as tables
from online.arrays import F64, I64, grown
from online.ids import Ids
from online.spikes_alarm import Alarm, Observation, author_hash, fingerprint
from online.spikes_telling import most_telling
from online.spikes_votes import fitted, live, new_table, restored

__all__ = ["Alarm", "Observation", "SpikeMonitor", "author_hash", "most_telling"]

STEP_SECONDS = 300.0
STEPS_A_DAY = 288
DAY_SECONDS = 86_400.0
FIRST_REFRESH = 50  # comments; doubled until the first day is over
REPORTS = 256
SEVERITIES = ("minor", "major", "severe")
TENANT = "tenant"
CHANNEL = "share"

Arrays = dict[str, npt.NDArray[Any]]


class SpikeMonitor:
    """The detectors of one tenant's keys.

    Equal observations in equal order give equal alarms, whatever batches they come in.

    Args:
        false_alarms_per_day: β, for all keys together, by event time.
        max_keys: further keys are refused and counted in `refused`.
    """

    def __init__(self, false_alarms_per_day: float = 1.0, max_keys: int = 200_000) -> None:
        self._budget = false_alarms_per_day
        self._max_keys = max_keys
        self._ids = Ids()
        self._keys = tables.new_keys(64)
        self._items = np.zeros(64, np.bool_)
        self._table = new_table()
        self._usual = tables.new_usual()
        self._clock = -1
        self._day = -1
        self._counted = 1  # K, as of the last refresh
        self._seen = 0  # comments
        self._next_refresh = FIRST_REFRESH
        self._prior = baseline.prior(np.zeros(0), np.zeros(0))
        self.refused = 0

    def threshold_log10(self) -> float:
        """log₁₀ of A = K·B/β."""
        return float(np.log10(self._counted * STEPS_A_DAY / self._budget))

    def firing(self) -> dict[str, str]:
        """Key → fingerprint of the incidents that are open."""
        slots = np.flatnonzero(self._keys.status[: self._ids.size, 0] == tables.FIRING).tolist()
        names = [self._ids.name(slot) for slot in slots]
        starts = [float(self._keys.incident[slot, 0]) for slot in slots]
        return {n: fingerprint(n, CHANNEL, at) for n, at in zip(names, starts, strict=True)}

    def observe(self, observations: Sequence[Observation]) -> list[Alarm]:
        """Take comments in order; the alarms that they raise, let grow or resolve."""
        if not observations:
            return []
        at = np.array([each.occurred_at for each in observations])
        steps = np.maximum.accumulate(
            np.maximum((at // STEP_SECONDS).astype(np.int64), self._clock)
        )
        alarms: list[Alarm] = []
        first = 0
        while first < len(observations):
            alarms += self._turn_of_day(int(steps[first]), float(at[first]))
            last = self._until(steps, first)
            alarms += self._segment(observations[first:last], at[first:last], steps[first:last])
            first = last
        return alarms

    def state(self) -> Arrays:
        """Copies of everything, for a checkpoint; some 300 bytes a key."""
        size = self._ids.size
        names, lengths = self._ids.saved()
        tags, steps = live(self._table, self._clock)
        counters = [self._clock, self._day, self._counted, self._seen, self._next_refresh]
        return {
            "names.bytes": names,
            "names.length": lengths,
            **{f"keys.{name}": array[:size].copy() for name, array in self._keys._asdict().items()},
            "votes.tags": tags,
            "votes.steps": steps,
            **{f"usual.{name}": array.copy() for name, array in self._usual._asdict().items()},
            "prior": np.array(self._prior),
            "counters": np.array([*counters, self.refused], np.int64),
        }

    def load(self, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
        """Go on from what `state` gave."""
        self._ids = Ids.restored(arrays["names.bytes"], arrays["names.length"])
        names = [self._ids.name(slot) for slot in range(self._ids.size)]
        room = max(64, len(names))
        self._keys = tables.new_keys(room)
        for name, array in self._keys._asdict().items():
            array[: len(names)] = arrays[f"keys.{name}"]
        self._items = np.zeros(room, np.bool_)
        self._items[: len(names)] = [name.startswith("item:") for name in names]
        self._table = restored(arrays["votes.tags"], arrays["votes.steps"])
        self._usual = tables.Usual(
            **{name: arrays[f"usual.{name}"].copy() for name in tables.Usual._fields}
        )
        self._prior = (float(arrays["prior"][0]), float(arrays["prior"][1]))
        counters = [int(value) for value in arrays["counters"]]
        self._clock, self._day, self._counted, self._seen, self._next_refresh = counters[:5]
        self.refused = counters[5]

    def _until(self, steps: I64, first: int) -> int:
        """The end of the comments that are judged by the present baseline."""
        tomorrow = int(np.searchsorted(steps, (self._day + 1) * STEPS_A_DAY, "left"))
        last = min(len(steps), tomorrow)
        if self._next_refresh:
            last = min(last, first + self._next_refresh - self._seen)
        return last

    def _turn_of_day(self, step: int, now: float) -> list[Alarm]:
        """Refresh K, baselines and season once a day; in the first, whenever comments doubled."""
        day = step // STEPS_A_DAY
        ended: list[Alarm] = []
        if self._day < 0:
            self._day = day
        elif day > self._day:
            self._next_refresh = 0
            self._refresh(baseline.KEPT_A_DAY ** (day - self._day))
            self._day = day
            ended = self._quiet(step, now)
        elif self._next_refresh and self._seen >= self._next_refresh:
            self._next_refresh *= 2
            self._refresh(1.0)
        return ended

    def _refresh(self, kept: float) -> None:
        size = self._ids.size
        baseline.refresh(self._keys, size, self._items[:size], kept)
        items = self._items[:size]
        folded = self._keys.folded[:size][items]
        self._prior = baseline.prior(folded[:, 0], folded[:, 1])
        baseline.relearn(self._usual, kept)
        self._counted = max(1, size)

    def _quiet(self, step: int, now: float) -> list[Alarm]:
        """Resolve incidents of keys on which nobody has commented for a day."""
        size = self._ids.size
        firing = self._keys.status[:size, 0] == tables.FIRING
        ended = np.flatnonzero(firing & (self._keys.step[:size] < step - STEPS_A_DAY))
        alarms = []
        out = np.zeros((1, bets.REPORT))
        for slot in ended.tolist():
            evidence = bets.log_mean(self._keys.evidence[slot])
            bets.report(self._keys, slot, bets.RESOLVED, 0, evidence, out, 0)
            bets.close(self._keys, slot)
            alarms.append(self._alarm(out[0], now))
        return alarms

    def _segment(self, group: Sequence[Observation], at: F64, steps: I64) -> list[Alarm]:
        slots, rows = self._pairs(group)
        comments = tables.Comments(
            np.array([each.negative for each in group], np.float64),
            np.array([each.author for each in group], np.uint64),
            at,
            steps,
        )
        self._clock = int(steps[-1])
        self._seen += len(group)
        self._table = fitted(self._table, int(steps[0]), len(slots))
        threshold = np.log(self._counted * STEPS_A_DAY / self._budget)
        calm = np.log(STEPS_A_DAY / self._budget)
        out = np.zeros((REPORTS, bets.REPORT))
        alarms: list[Alarm] = []
        done = 0
        while done < len(slots):
            done, reports = bets.observe(
                self._keys, comments, slots, rows, done, self._table, self._usual,
                threshold, calm, out,
            )  # fmt: skip
            alarms += [self._alarm(row, float(at[int(row[bets.ROW])])) for row in out[:reports]]
        return alarms

    def _pairs(
        self, group: Sequence[Observation]
    ) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]:
        """Keys (int32[pairs]) and the comments they take, item first."""
        slots: list[int] = []
        rows: list[int] = []
        for row, each in enumerate(group):
            names = (
                f"item:{each.item}",
                *(f"topic:{name}" for name in dict.fromkeys(each.topics)),
                TENANT,
            )
            for name in names:
                slot = self._ids.find(name)
                if slot < 0:
                    slot = self._new_key(name)
                if slot >= 0:
                    slots.append(slot)
                    rows.append(row)
        return np.array(slots, np.int32), np.array(rows, np.int32)

    def _new_key(self, name: str) -> int:
        if self._ids.size >= self._max_keys:
            self.refused += 1
            return -1
        slot = self._ids.add(name)
        if slot >= len(self._items):
            self._keys = tables.grown_keys(self._keys, 2 * len(self._items))
            self._items = grown(self._items, 2 * len(self._items))
        self._items[slot] = name.startswith("item:")
        mean, bound = baseline.posterior(np.zeros(1), np.zeros(1), *self._prior)
        self._keys.mean[slot], self._keys.bound[slot] = mean[0], bound[0]
        return slot

    def _alarm(self, row: F64, now: float) -> Alarm:
        key = self._ids.name(int(row[bets.SLOT]))
        started, mean = float(row[bets.START]), float(row[bets.MEAN])
        share = float(row[bets.NEGATIVES] / max(row[bets.COMMENTS], 1.0))
        return Alarm(
            key=key,
            channel=CHANNEL,
            state="resolved" if row[bets.KIND] == bets.RESOLVED else "firing",
            fingerprint=fingerprint(key, CHANNEL, started),
            started_at=started,
            raised_at=now,
            evidence=max(float(row[bets.EVIDENCE]) / bets.TENFOLD, -99.0),
            negatives=round(float(row[bets.NEGATIVES])),
            comments=int(row[bets.COMMENTS]),
            share=share,
            baseline=mean,
            effect=share / max(mean, 1e-6),
            severity=SEVERITIES[int(row[bets.LEVEL])],
        )
