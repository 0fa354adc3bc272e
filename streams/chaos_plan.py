"""Which faults a seed brings: what is hit, how, when, and for how long."""

from __future__ import annotations

from random import Random
from typing import Literal

from msgspec import Struct

Kind = Literal["kill", "pause", "delay", "stall", "reset"]

KILL: tuple[Kind, ...] = ("kill", "pause")
CUT: tuple[Kind, ...] = (*KILL, "delay", "stall", "reset")
# Kafka hands out its own address, so its line cannot be led through a proxy: a paused broker is
# what a dead line looks like.
TARGETS: dict[str, tuple[Kind, ...]] = {
    "worker": KILL,
    "worker-2": KILL,
    "classifier": CUT,
    "kafka": KILL,
    "valkey": CUT,
    "clickhouse": CUT,
    "webhook": ("kill", "pause"),
}
# Beyond Kafka's session timeout of 6 s too: the group then gives the partitions to nobody.
SHORTEST, LONGEST = 0.5, 9.0
FEWEST, MOST = 3, 6


class Fault(Struct, frozen=True):
    """What happens to one process or its line.

    Attributes:
        at: seconds after the start of the faults.
        seconds: how long it lasts; 0 of a kill: it is started again at once.
    """

    at: float
    target: str
    kind: Kind
    seconds: float

    @property
    def end(self) -> float:
        """When it is over, seconds after the start of the faults."""
        return self.at + self.seconds


def plan(seed: int, within: float) -> list[Fault]:
    """The faults of a seed in the order of their beginning; equal seeds give equal plans.

    A worker is always among them, and the other one then takes its partitions. Two faults may
    overlap, one may hit what just starts again, and nothing is hit while it is paused.

    Args:
        within: seconds in which all of them begin.
    """
    random = Random(f"chaos/{seed}")
    busy: dict[str, float] = {}
    faults: list[Fault] = []
    times = sorted(random.uniform(0, within) for _ in range(random.randint(FEWEST, MOST)))
    of_worker = random.randrange(len(times))
    for number, at in enumerate(times):
        free = [target for target in TARGETS if busy.get(target, -1.0) < at]
        workers = [target for target in free if target.startswith("worker")]
        target = random.choice(workers if number == of_worker and workers else free)
        kind = random.choice(TARGETS[target])
        seconds = 0.0 if kind == "kill" else random.uniform(SHORTEST, LONGEST)
        fault = Fault(round(at, 2), target, kind, round(seconds, 2))
        busy[target] = fault.end
        faults.append(fault)
    return faults
