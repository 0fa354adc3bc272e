"""The spike detector: scored comments in, alarms out, at a stated rate of false ones.

Owns the keys of one tenant (`tenant`, `item:<id>`, `topic:<name>`, `model:<version>/<language>`),
what is usual for each, and the betting processes that tell a spike from chance. One knob, β false
alarms a day: with K keys and B = 288 steps a day an alarm needs evidence A = K·B/β (`spikes_bets`
has the theorem, `spikes_crowd` what changes when several keys rise at once).

Words: a *step* is five minutes of event time; the *clock* is the latest step seen and never goes
back, a late comment counts in the current step, and of a long silence a day or two count; the
*level* is the share that a key's record lets expect; *evidence* is the e-value, given as its log₁₀;
an *incident* lasts from its alarm to its resolution, and the baseline learns nothing from it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from online import spikes_baseline as baseline
from online import spikes_bets as bets
from online import spikes_keys as tables
from online import spikes_step as stepping
from online.arrays import F64, I32, I64, U64
from online.spikes_alarm import Alarm, Observation, author_hash, fingerprint
from online.spikes_book import KeyBook
from online.spikes_report import reported
from online.spikes_telling import most_telling
from online.spikes_votes import fitted, live, new_table, restored

__all__ = ["Alarm", "Observation", "SpikeMonitor", "author_hash", "most_telling"]

STEP_SECONDS = 300.0
STEPS_A_DAY = 288
FIRST_REFRESH = 50  # comments; doubled until the first day is over
LONGEST_DAYS = 7  # an incident that lasts longer has become usual
FORGOTTEN_DAYS = 90  # of silence, after which an item's record is worn off: as good as a new one
LATE_SECONDS = 3_600.0  # a stamp before the clock by more says nothing of when a spike began

Arrays = dict[str, npt.NDArray[Any]]


class SpikeMonitor:
    """The detectors of one tenant's keys.

    Equal observations in equal order give equal alarms, whatever batches they come in.

    Args:
        false_alarms_per_day: β, for all keys together, by event time.
        max_keys: further keys are refused and counted in `refused`.
        volume: whether the number of negatives is evidence too, beside their share.
    """

    def __init__(
        self, false_alarms_per_day: float = 1.0, max_keys: int = 200_000, volume: bool = True
    ) -> None:
        self._budget = false_alarms_per_day
        self._volume = volume
        self._book = KeyBook(max_keys)
        self._table = new_table()
        self._usual = tables.new_usual()
        self._clock = -1
        self._day = self._first_day = -1
        self._counted = 1  # K, as of the last refresh
        self._refreshed = -1  # step of the last refresh
        self._seen = 0  # comments
        self._next_refresh = FIRST_REFRESH

    @property
    def refused(self) -> int:
        """Comments' keys for which there was no room."""
        return self._book.refused

    def threshold_log10(self) -> float:
        """log₁₀ of A = K·B/β."""
        return float(np.log10(self._counted * STEPS_A_DAY / self._budget))

    def firing(self) -> dict[str, str]:
        """Key → fingerprint of the incidents that are open."""
        keys = self._book.keys
        slots = np.flatnonzero(keys.status[: len(self._book), 0] == tables.FIRING).tolist()
        names = {self._book.name(slot): float(keys.incident[slot, 0]) for slot in slots}
        return {name: fingerprint(name, started) for name, started in names.items()}

    def observe(self, observations: Sequence[Observation]) -> list[Alarm]:
        """Take comments in order; the alarms that they raise, let grow or resolve."""
        if not observations:
            return []
        at, steps = self._timed(np.array([each.occurred_at for each in observations]))
        columns = tables.Comments(
            np.array([each.negative for each in observations], np.float64),
            np.array([each.author for each in observations], np.uint64),
            at,
            steps,
            np.array([self._book.version(each.version) for each in observations], np.int32),
        )
        if self._book.reused:
            self._usual.versions[self._book.reused] = 0.0
            self._book.reused.clear()
        return self._take(columns, lambda first, last: self._book.pairs(observations[first:last]))

    def observe_columns(
        self, names: Sequence[str], negative: F64, at: F64, key: I64, author: U64
    ) -> list[Alarm]:
        """The fast lane of simulations: comments of one key each, as columns.

        Args:
            names: of keys; those not seen yet are made at once.
            key: int64[n], indices into `names`.
        """
        for name in names:
            self._book.slot(name)

        def pairs(first: int, last: int) -> tuple[I32, I32]:
            """By name: a row may have been given to another key since."""
            some, where = np.unique(key[first:last], return_inverse=True)
            slots = np.array([self._book.slot(names[k]) for k in some.tolist()], np.int32)
            return slots[where], np.arange(last - first, dtype=np.int32)

        columns = tables.Comments(negative, author, *self._timed(at), np.zeros(len(at), np.int32))
        return self._take(columns, pairs)

    def end_silent(self, now: float) -> list[Alarm]:
        """End what fires, a day after the last comment of all: there may be no next one to do it.

        Args:
            now: epoch seconds.
        """
        later = self._clock + STEPS_A_DAY + 1
        if self._clock < 0 or now < later * STEP_SECONDS:
            return []
        return self._over(later, later * STEP_SECONDS)

    def state(self) -> Arrays:
        """Copies of everything, for a checkpoint; some 450 bytes a key."""
        tags, steps = live(self._table, self._clock)
        counters = [self._clock, self._day, self._first_day, self._counted]
        counters += [self._refreshed, self._seen, self._next_refresh, self.refused]
        return {
            **self._book.arrays(),
            "votes.tags": tags,
            "votes.steps": steps,
            **{f"usual.{name}": array.copy() for name, array in self._usual._asdict().items()},
            "counters": np.array(counters, np.int64),
        }

    def load(self, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
        """Go on from what `state` gave."""
        self._book.load(arrays)
        self._table = restored(arrays["votes.tags"], arrays["votes.steps"])
        self._usual = tables.new_usual()
        for name, array in self._usual._asdict().items():
            kept = arrays[f"usual.{name}"]  # an earlier version's may be shorter
            array[: len(kept)] = kept
        counters = [int(value) for value in arrays["counters"]]
        self._clock, self._day, self._first_day, self._counted = counters[:4]
        self._refreshed, self._seen = counters[4:6]
        self._next_refresh, self._book.refused = counters[6:]

    def _calm(self) -> float:
        """ln of the evidence that one key shows once in 1/β days by chance."""
        return float(np.log(STEPS_A_DAY / self._budget))

    def _timed(self, at: F64) -> tuple[F64, I64]:
        """Times that say when a spike begins, and steps of the clock, which never goes back."""
        steps = np.maximum((at // STEP_SECONDS).astype(np.int64), self._clock)
        steps = np.maximum.accumulate(steps)
        began = steps * STEP_SECONDS
        return np.where(at < began - LATE_SECONDS, began, at), steps

    def _take(
        self, comments: tables.Comments, pairs: Callable[[int, int], tuple[I32, I32]]
    ) -> list[Alarm]:
        """Cut comments where baselines are refreshed, and let the keys take them.

        Args:
            pairs: slots and rows of the comments first … last − 1.
        """
        alarms: list[Alarm] = []
        first, total = 0, len(comments.at)
        while first < total:
            alarms += self._turn_of_day(int(comments.step[first]), float(comments.at[first]))
            last = self._until(comments.step, first)
            slots, rows = pairs(first, last)
            part = tables.part(comments, first, last)
            alarms += self._segment(part, slots, rows)
            first = last
        return alarms

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
            self._day, self._first_day, self._refreshed = day, day, step
        elif day > self._day:
            self._next_refresh = 0
            silence = step - self._clock - 1
            days = self._pass_over(silence)
            kept = baseline.KEPT_A_DAY ** (day - self._day)
            self._refresh(kept)
            steps = self._counted * (step - self._refreshed)
            keys, size = self._book.keys, len(self._book)
            if days:
                baseline.bring_forward(keys, size, silence, days)
            baseline.learn_rates(keys, size, step)
            baseline.relearn(self._usual, kept, steps, day - self._first_day)
            ended = self._over(step, now)
            self._forget(step)
            self._counted, self._refreshed = max(1, self._book.known), step
            self._day = day
        elif self._next_refresh and self._seen >= self._next_refresh:
            self._next_refresh *= 2
            self._refresh(1.0)
            self._counted = max(1, self._book.known)
        return ended

    def _pass_over(self, silence: int) -> int:
        """Leave out the days of a silence (in steps), but for the last or the last two; how many.

        Of a platform that was off, or of one comment stamped years apart from the others, there
        is nothing to learn. What comes after is learned from as on a first day.
        """
        days = max(0, silence // STEPS_A_DAY - 1)
        if days:
            self._refreshed += days * STEPS_A_DAY
            self._day += days
            self._first_day += days
            self._seen, self._next_refresh = 0, FIRST_REFRESH
        return days

    def _refresh(self, kept: float) -> None:
        keys, size = self._book.keys, len(self._book)
        items = keys.status[:size, 2] == tables.ITEM
        baseline.refresh(keys, size, items, self._usual, kept)

    def _over(self, step: int, now: float) -> list[Alarm]:
        """End incidents of keys that nobody has commented on for a day, or that became usual."""
        keys, size = self._book.keys, len(self._book)
        firing = keys.status[:size, 0] == tables.FIRING
        silent = keys.step[:size] < step - STEPS_A_DAY
        usual = keys.incident[:size, 0] < (step - LONGEST_DAYS * STEPS_A_DAY) * STEP_SECONDS
        alarms = []
        out = np.zeros(bets.REPORT)
        for slot in np.flatnonzero(firing & (silent | usual)).tolist():
            stepping.report(keys, slot, bets.RESOLVED, 0, keys.mean[slot], out)
            bets.close(keys, slot)
            if usual[slot]:
                keys.folded[slot] = 0.0  # judged by the others until it has a new record
            alarms.append(self._alarm(out, now))
        return alarms

    def _forget(self, step: int) -> None:
        """Forget items without a record; they count in K no more."""
        keys, size = self._book.keys, len(self._book)
        last, kind = keys.step[:size], keys.status[:size]
        silent = (last >= 0) & (last < step - FORGOTTEN_DAYS * STEPS_A_DAY)
        gone = silent & (keys.folded[:size, 1] < 1.0) & (kind[:, 2] == tables.ITEM)
        self._book.forget(np.flatnonzero(gone & (kind[:, 0] != tables.FIRING)).tolist())

    def _segment(self, comments: tables.Comments, slots: I32, rows: I32) -> list[Alarm]:
        self._clock = int(comments.step[-1])
        self._seen += len(comments.at)
        self._table = fitted(self._table, int(comments.step[0]), len(slots))
        threshold = np.log(self._counted * STEPS_A_DAY / self._budget)
        out = np.zeros(bets.REPORT)
        alarms: list[Alarm] = []
        done = 0
        calm = self._calm()
        gate = calm + float(self._usual.steps[0]) if self._volume else np.inf
        while done < len(slots):
            done, kind = stepping.observe(
                self._book.keys, comments, slots, rows, done, self._table, self._usual,
                threshold, calm, gate, out,
            )  # fmt: skip
            if kind:
                alarms.append(self._alarm(out, float(comments.at[int(out[bets.ROW])])))
        return alarms

    def _alarm(self, row: F64, now: float) -> Alarm:
        slot, keys = int(row[bets.SLOT]), self._book.keys
        key, parent = self._book.name(slot), self._book.name(int(keys.parent[slot]))
        drift = bool(keys.status[slot, 2] == tables.COMMON)
        return reported(row, now, key, parent, drift, self._risen(slot))

    def _risen(self, slot: int) -> tuple[str, ...]:
        """Tenant and models that rose as well: once a day each, by chance."""
        keys, level = self._book.keys, self._calm() + self._usual.steps[0]
        risen = [c for c in self._book.commons if c != slot and keys.total[c] >= level]
        return tuple(self._book.name(c) for c in risen)
