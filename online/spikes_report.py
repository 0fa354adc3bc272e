"""A row that the kernel reports, as an alarm."""

from __future__ import annotations

from online import spikes_bets as bets
from online.arrays import F64
from online.spikes_alarm import Alarm, fingerprint

SEVERITIES = ("minor", "major", "severe")
CHANNELS = ("share", "volume")


def reported(
    row: F64, now: float, key: str, parent: str, drift: bool, common: tuple[str, ...]
) -> Alarm:
    """The alarm.

    Args:
        row: float64[bets.REPORT].
        now: when it is raised, epoch seconds.
        key, parent, common: names.
        drift: it is a model's.
    """
    started, mean = float(row[bets.START]), float(row[bets.MEAN])
    share = float(row[bets.NEGATIVES] / max(row[bets.COMMENTS], 1.0))
    return Alarm(
        key=key,
        channel="drift" if drift else CHANNELS[int(row[bets.CHANNEL])],
        state="resolved" if row[bets.KIND] == bets.RESOLVED else "firing",
        fingerprint=fingerprint(key, started),
        started_at=started,
        raised_at=now,
        evidence=max(float(row[bets.EVIDENCE]) / bets.TENFOLD, -99.0),
        negatives=round(float(row[bets.NEGATIVES])),
        comments=int(row[bets.COMMENTS]),
        share=share,
        baseline=mean,
        effect=share / max(mean, 1e-6),
        severity=SEVERITIES[int(row[bets.LEVEL])],
        parent=parent,
        common=common,
    )
