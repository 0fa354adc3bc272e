"""What raises an alarm and, as important, what must not."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from online.spikes import Alarm, Observation, SpikeMonitor, author_hash, most_telling
from online.spikes_baseline import prior, spread

DAY = 86_400.0
NOON = 1_760_000_400.0 - 1_760_000_400.0 % DAY + DAY / 2
Comments = list[Observation]


def usual(days: float, share: float = 0.2, items: int = 10, seed: int = 0) -> Comments:
    """Each item some 60 comments a day, by as many people, until noon."""
    rng = np.random.default_rng(seed)
    count = int(60 * items * days)
    at = np.sort(NOON - DAY * days + DAY * days * rng.random(count))
    negative = rng.random(count) < share
    return [
        Observation(f"i{i % items}", ("t",), bool(n), int(rng.integers(1, 2**62)), float(t))
        for i, (n, t) in enumerate(zip(negative, at, strict=True))
    ]


def burst(
    count: int, share: float, item: str = "i3", start: float = NOON, seconds: float = 1_800.0
) -> Comments:
    """Many comments on one item by many people, in half an hour."""
    rng = np.random.default_rng(1)
    at = np.sort(start + seconds * rng.random(count))
    return [
        Observation(item, ("t",), bool(rng.random() < share), int(rng.integers(1, 2**62)), float(t))
        for t in at
    ]


def firing(alarms: list[Alarm], key: str = "") -> list[Alarm]:
    return [alarm for alarm in alarms if alarm.state == "firing" and key in alarm.key]


@pytest.fixture(scope="module")
def calm() -> Callable[[], SpikeMonitor]:
    """Monitors that have seen a week of usual comments."""
    monitor = SpikeMonitor()
    monitor.observe(usual(7))
    assert not monitor.firing()
    kept = monitor.state()

    def make() -> SpikeMonitor:
        fresh = SpikeMonitor()
        fresh.load(kept)
        return fresh

    return make


def test_a_burst_of_negative_comments_alerts_with_its_start(
    calm: Callable[[], SpikeMonitor],
) -> None:
    comments = burst(40, 0.9)
    alarms = calm().observe(comments)
    alarm = firing(alarms, "item:i3")[0]
    assert abs(alarm.started_at - NOON) < 600 and alarm.raised_at < NOON + 1_800
    assert alarm.share > 0.7 and 0.15 < alarm.baseline < 0.3 and alarm.effect > 2.5
    assert alarm.negatives <= alarm.comments < 25
    assert alarm.evidence >= calm().threshold_log10() == pytest.approx(np.log10(12 * 288), abs=0.01)


def test_the_deciding_comment_alerts_at_once(calm: Callable[[], SpikeMonitor]) -> None:
    comments = burst(30, 1.0, seconds=200)  # within one step
    monitor = calm()
    for number, comment in enumerate(comments):
        alarms = firing(monitor.observe([comment]), "item:i3")
        if alarms:
            assert alarms[0].raised_at == comment.occurred_at and number < 15
            return
    pytest.fail("no alarm")


def test_one_incident_is_one_fingerprint_that_grows_and_resolves(
    calm: Callable[[], SpikeMonitor],
) -> None:
    monitor = calm()
    alarms = monitor.observe(burst(80, 0.9))
    later = [c for c in usual(1, seed=5) if c.item == "i3"] * 2
    after = [c._replace(occurred_at=NOON + 3_600 + i * 60) for i, c in enumerate(later)]
    alarms = [a for a in alarms + monitor.observe(after) if a.key == "item:i3"]
    assert [a.state for a in alarms] == ["firing"] * (len(alarms) - 1) + ["resolved"]
    assert len({a.fingerprint for a in alarms}) == 1
    assert 2 <= len(firing(alarms)) <= 3  # raised, then told again at most twice: 10², 10⁶
    assert monitor.firing() == {}


def test_an_incident_that_nobody_mentions_any_more_resolves(
    calm: Callable[[], SpikeMonitor],
) -> None:
    monitor = calm()
    monitor.observe(burst(40, 0.9))
    assert "item:i3" in monitor.firing()
    others = [c for c in usual(3, seed=6) if c.item != "i3"]
    monitor.observe([c._replace(occurred_at=c.occurred_at + 3 * DAY) for c in others])
    assert "item:i3" not in monitor.firing()


def test_an_incident_does_not_become_usual(calm: Callable[[], SpikeMonitor]) -> None:
    monitor = calm()
    monitor.observe(burst(400, 0.9, seconds=6 * 3_600))
    quiet = [c._replace(occurred_at=c.occurred_at + 2 * DAY) for c in usual(2, seed=7)]
    monitor.observe([c for c in quiet if c.item != "i3"])
    again = firing(monitor.observe(burst(40, 0.9, start=NOON + 2 * DAY)), "item:i3")
    assert again and again[0].baseline < 0.3


# What must not fire.


def test_viral_praise_is_silent(calm: Callable[[], SpikeMonitor]) -> None:
    assert not firing(calm().observe(burst(3_000, 0.03)))


def test_ten_times_the_comments_at_the_usual_share_are_silent(
    calm: Callable[[], SpikeMonitor],
) -> None:
    assert not firing(calm().observe(burst(2_000, 0.2, seconds=6 * 3_600)))


def test_one_flooding_author_is_silent(calm: Callable[[], SpikeMonitor]) -> None:
    flood = burst(500, 1.0)
    angry = author_hash("default/angry")
    assert not firing(calm().observe([c._replace(author=angry) for c in flood]))
    assert firing(calm().observe(flood), "item:i3")  # by as many people it would not be


def test_a_brigade_known_as_one_cluster_is_silent(calm: Callable[[], SpikeMonitor]) -> None:
    clusters = [author_hash(f"brigade-{i}") for i in range(3)]
    brigade = [c._replace(author=clusters[i % 3]) for i, c in enumerate(burst(300, 1.0))]
    assert not firing(calm().observe(brigade))


def test_a_copy_paste_brigade_without_a_cluster_is_told_by_its_texts() -> None:
    """Many accounts, one text: who clusters authors gives them one vote; the alert shows one."""
    texts = [("a", "Boycott this course!!! http://x.y/1", 0.9), ("b", "boycott this course", 0.95)]
    assert most_telling(texts, 5) == [1]


def test_redelivered_comments_have_no_second_vote(calm: Callable[[], SpikeMonitor]) -> None:
    monitor, day = calm(), usual(1, share=0.25, seed=12)
    again = [c._replace(occurred_at=c.occurred_at + DAY) for c in day for _ in range(20)]
    assert not firing(monitor.observe(again))


def test_a_new_version_that_finds_more_negatives_is_a_drift_not_a_spike_of_items() -> None:
    monitor = SpikeMonitor()
    monitor.observe([c._replace(version="v1", language="en") for c in usual(7)])
    swapped = usual(2, share=0.3, seed=4)
    alarms = firing(
        monitor.observe(
            [
                c._replace(version="v2", language="en", occurred_at=c.occurred_at + 2 * DAY)
                for c in swapped
            ]
        )
    )
    assert not [a for a in alarms if a.key.startswith(("item:", "topic:"))]
    assert {a.channel for a in alarms if a.key == "model:v2/en"} == {"drift"}


def test_when_everything_rises_the_alarms_say_so_and_none_is_hidden(
    calm: Callable[[], SpikeMonitor],
) -> None:
    worse = [c for item in range(10) for c in burst(60, 0.7, item=f"i{item}", seconds=6 * 3_600)]
    alarms = firing(calm().observe(sorted(worse, key=lambda c: c.occurred_at)))
    items = [a for a in alarms if a.key.startswith("item:")]
    assert len({a.key for a in items}) >= 8
    assert sum("tenant" in a.common for a in items) > len(items) / 2
    assert {a.parent for a in items} == {"topic:t"}
    assert {a.parent for a in alarms if a.key == "topic:t"} == {"tenant"}


def test_one_early_complaint_does_not_start_a_spike(calm: Callable[[], SpikeMonitor]) -> None:
    monitor = calm()
    quiet = Observation("quiet", ("t",), 1.0, 5, NOON)
    assert not firing(monitor.observe([quiet]), "quiet")
    start = NOON + 30 * 3_600
    found = firing(monitor.observe(burst(30, 0.95, item="quiet", start=start)), "quiet")
    assert abs(found[0].started_at - start) < 1_800


def test_a_new_key_is_judged_by_the_others_from_its_first_comment(
    calm: Callable[[], SpikeMonitor],
) -> None:
    monitor = calm()
    assert not firing(monitor.observe(burst(60, 0.25, item="new")))
    found = firing(monitor.observe(burst(40, 0.95, item="newer")), "newer")
    assert found and found[0].comments < 30


def test_a_backlog_in_one_step_is_silent(calm: Callable[[], SpikeMonitor]) -> None:
    """A day's comments come late, all at once, after the clock has moved on."""
    monitor = calm()
    backlog = [c._replace(occurred_at=c.occurred_at + DAY) for c in usual(1, seed=8)]
    newest = backlog[-1]._replace(negative=False)
    assert not firing(monitor.observe([newest, *backlog]))


def test_a_tenant_without_a_past_learns_before_it_judges() -> None:
    grumpy = usual(1, share=0.75, seed=9)
    assert not firing(SpikeMonitor().observe(grumpy))


def test_usual_weeks_keep_the_budget() -> None:
    days = 0.0
    alarms: list[Alarm] = []
    for seed in range(6):
        alarms += firing(SpikeMonitor().observe(usual(10, items=15, seed=seed)))
        days += 10
    assert len({a.fingerprint for a in alarms}) <= 1.3 * days


# Arithmetic.


def test_batches_and_checkpoints_change_nothing(calm: Callable[[], SpikeMonitor]) -> None:
    stream = sorted(
        usual(3, seed=3) + burst(60, 0.9, start=NOON - DAY), key=lambda c: c.occurred_at
    )
    whole = SpikeMonitor().observe(stream)
    monitor, pieces = SpikeMonitor(), []
    for start in range(0, len(stream), 173):
        pieces += monitor.observe(stream[start : start + 173])
        kept = monitor.state()
        monitor = SpikeMonitor()
        monitor.load(kept)
    assert pieces == whole and firing(whole, "item:i3")
    assert len(SpikeMonitor().state()["keys.step"]) == 0


def test_keys_are_bounded() -> None:
    monitor = SpikeMonitor(max_keys=5)
    monitor.observe(usual(1))
    assert len(monitor.state()["keys.step"]) == 5 and monitor.refused > 0


def test_the_prior_finds_mean_and_spread_of_the_keys() -> None:
    rng = np.random.default_rng(0)
    n = rng.integers(20, 400, 3_000).astype(float)
    x = rng.binomial(n.astype(int), rng.beta(3, 17, 3_000)).astype(float)
    mean, worth = prior(x, n)
    assert mean == pytest.approx(0.15, abs=0.01) and worth == pytest.approx(20, rel=0.15)


def test_comments_that_resemble_each_other_are_noticed() -> None:
    rng = np.random.default_rng(0)
    n, p, rho = rng.integers(2, 20, 20_000), 0.2, 0.05
    for law, low, high in (
        (np.full(20_000, p), 0.0, 0.0),
        (rng.beta(p * (1 - rho) / rho, (1 - p) * (1 - rho) / rho, 20_000), 0.04, 0.06),
    ):
        x = rng.binomial(n, law)
        v = p * (1 - p)
        sums = [((x - n * p) ** 2 - n * v).sum(), (n * (n - 1) * v).sum()]
        assert low <= spread(np.array([*sums, (2 * n * (n - 1) * v**2).sum()])) <= high
