"""What a year brings: stamps of another time, items that come and go, a model a night."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from online.spikes import FORGOTTEN_DAYS, Alarm, Observation, SpikeMonitor
from online.spikes_book import MODEL, MOST_GROUPS, KeyBook
from online.spikes_keys import VERSIONS

DAY = 86_400.0
NOON = 1_760_000_400.0 - 1_760_000_400.0 % DAY + DAY / 2


def usual(first: float, days: float, items: int = 8, a_day: int = 60) -> Iterator[Observation]:
    """Days from NOON + `first` on; a fifth of the comments is negative."""
    rng = np.random.default_rng([items, int(first + 1_000)])
    for at in np.sort(NOON + DAY * (first + days * rng.random(int(items * a_day * days)))):
        item = f"i{rng.integers(items)}"
        yield Observation(item, ("t",), bool(rng.random() < 0.2), 0, float(at))


def calm() -> SpikeMonitor:
    monitor = SpikeMonitor()
    monitor.observe(list(usual(-7, 7)))
    assert "item:i3" not in monitor.firing()
    return monitor


def firing(alarms: list[Alarm], key: str) -> list[Alarm]:
    return [alarm for alarm in alarms if alarm.state == "firing" and alarm.key == key]


@pytest.mark.parametrize("stamp", [0.0, NOON - 400 * DAY, NOON - 8 * DAY])
def test_a_complaint_with_an_old_stamp_does_not_begin_the_spike(stamp: float) -> None:
    """With its stamp for a start an incident had "become usual" at midnight, record and all."""
    monitor = calm()
    late = [Observation("i3", ("t",), 1.0, 0, stamp)]
    comments = [Observation("i3", ("t",), 1.0, 0, NOON + 20.0 * n) for n in range(1, 40)]
    alarm = firing(monitor.observe(late + comments), "item:i3")[0]
    assert abs(alarm.started_at - NOON) < 600 and alarm.raised_at > NOON - 300
    ended = monitor.observe(list(usual(0.5, 0.1, items=2)))  # after midnight, on other items
    assert "item:i3" not in [each.key for each in ended]
    assert "item:i3" in monitor.firing()


def test_a_deciding_comment_that_comes_late_is_no_history() -> None:
    monitor = calm()
    comments = [Observation("i3", ("t",), 1.0, 0, NOON + 20.0 * n) for n in range(1, 40)]
    before = monitor.state()
    decided = firing(monitor.observe(comments), "item:i3")[0]
    number = next(n for n, each in enumerate(comments) if each.occurred_at == decided.raised_at)
    comments[number] = comments[number]._replace(occurred_at=NOON - 9 * 3_600)
    again = SpikeMonitor()
    again.load(before)
    alarm = firing(again.observe(comments), "item:i3")[0]
    assert alarm.raised_at > NOON - 300


def test_items_that_nobody_talks_about_make_room() -> None:
    monitor, most = SpikeMonitor(max_keys=22), []
    for month in range(12):  # ten other items each
        first = 30.0 * month
        named = [each._replace(item=f"{month}-{each.item}") for each in usual(first, 29, 8, 3)]
        monitor.observe(named)
        most.append(monitor._book.known)
    assert monitor.refused and max(most) == 22  # three months of items have no room …
    kept = {monitor._book.name(slot) for slot in range(len(monitor._book))} - {""}
    assert {"tenant", "topic:t"} < kept
    assert not any(name.startswith("item:0-") for name in kept)  # … but the first make room
    assert monitor.threshold_log10() < np.log10(23 * 288)


def test_a_forgotten_item_is_as_good_as_a_new_one() -> None:
    monitor = calm()
    rows = len(monitor._book)
    monitor.observe(list(usual(0, FORGOTTEN_DAYS + 45, items=2)))
    assert monitor._book.known == 4
    kept = monitor.state()
    again = SpikeMonitor()
    again.load(kept)
    now = NOON + DAY * (FORGOTTEN_DAYS + 45)
    scandal = [Observation("i3", ("t",), 1.0, 0, now + 20.0 * n) for n in range(30)]
    for each in (monitor, again):
        alarm = firing(each.observe(scandal), "item:i3")[0]
        assert alarm.parent == "topic:t"
        assert len(each._book) <= rows


def test_a_forgotten_item_comes_back_by_its_name_in_the_fast_lane() -> None:
    monitor, names = SpikeMonitor(), ["item:old", "item:new", "tenant"]
    days = np.concatenate([np.arange(0.0, 135.0, 0.25), 136.0 + np.arange(12.0) / 1_440])
    old = (days < 1.0) | (days > 135.0)
    alarms = monitor.observe_columns(
        names, (days > 135.0).astype(np.float64), NOON + DAY * days, np.where(old, 0, 1),
        np.zeros(len(days), np.uint64),
    )  # fmt: skip
    assert {alarm.key for alarm in alarms} == {"item:old"}


@pytest.mark.parametrize("x", [0.0, 0.002])
def test_praise_alone_raises_no_alarm_however_long_it_lasts(x: float) -> None:
    """Weights add up to the threshold where hardly anything is negative: 0 of 1 was an alert."""
    monitor = SpikeMonitor()
    said = [Observation(f"i{n % 3}", ("t",), x, 0, NOON + DAY * n / 4) for n in range(400)]
    assert monitor.observe(said) == []
    at = NOON + DAY * 101
    scandal = [Observation("i1", ("t",), 1.0, 0, at + 60.0 * n) for n in range(9)]
    alarm = firing(monitor.observe(scandal), "item:i1")[0]
    assert alarm.negatives >= 2


def test_a_model_a_night_has_a_factor_and_a_drift_of_its_own() -> None:
    book = KeyBook(1_000)
    nights = 3 * VERSIONS
    for night in range(nights):
        version = f"v{night}"
        assert 0 <= book.version(version) < VERSIONS
        assert book.version(version) == book.version(version) > 0 or night == 0
        for language in ("zh", "en", "de"):
            book.pairs([Observation("i", (), 0.0, 0, NOON, version, language)])
    assert len(book._groups) <= MOST_GROUPS
    names = {book.name(slot) for slot in range(len(book))}
    assert f"{MODEL}v{nights - 1}/de" in names
    assert len(book.reused) == nights - VERSIONS
    again = KeyBook(1_000)
    again.load(book.arrays())
    for night in range(nights):  # an index beyond the table would be written through by the kernel
        assert again.version(f"v{night}") == book.version(f"v{night}")


def test_a_version_that_takes_an_old_ones_place_begins_anew() -> None:
    monitor = calm()
    at = NOON
    for night in range(VERSIONS + 1):
        at += 600.0
        seen = [Observation("i5", ("t",), 0.25, 0, at + n, f"v{night}") for n in range(2)]
        monitor.observe(seen)
    versions = monitor.state()["usual.versions"]
    assert versions[1, 0] == versions[2, 0] == 0.25  # one comment of a key and step each


def test_what_fires_ends_a_day_after_the_last_comment_of_all_also_if_none_follows() -> None:
    monitor = calm()
    last = NOON + 20.0 * 39
    scandal = [Observation("i3", ("t",), 1.0, 0, NOON + 20.0 * n) for n in range(1, 40)]
    monitor.observe(scandal)
    kept = monitor.state()
    assert "item:i3" in monitor.firing()
    assert monitor.end_silent(last + DAY - 600) == []
    ended = monitor.end_silent(last + 3 * DAY)
    assert {alarm.state for alarm in ended} == {"resolved"} and not monitor.firing()
    assert all(last + DAY <= alarm.raised_at < last + DAY + 600 for alarm in ended)
    assert monitor.end_silent(last + 4 * DAY) == []
    by_comment = SpikeMonitor()
    by_comment.load(kept)
    later = [Observation("i1", ("t",), 0.0, 0, last + 3 * DAY)]
    names = {alarm.fingerprint for alarm in by_comment.observe(later)}
    assert names == {alarm.fingerprint for alarm in ended}
    monitor.observe(later)
    one, other = monitor.state(), by_comment.state()
    differ = {name for name in one if not np.array_equal(one[name], other[name])}
    assert differ <= {"keys.cusum"}  # 0, or below it: the next comment makes both 0
