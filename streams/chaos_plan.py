"""Which faults a seed brings: what is hit, how, when, and for how long."""

from __future__ import annotations

import re
from random import Random
from typing import Literal

from msgspec import Struct

from infra.settings import UserError

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
SPOKEN = re.compile(r"(\w+) ([\w-]+) at (\d+(?:\.\d+)?)(?: for (\d+(?:\.\d+)?))?")


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


def targets(nodes: int = 1) -> dict[str, tuple[Kind, ...]]:
    """What can be hit, and how; the nodes of a Kafka cluster are one target each."""
    if nodes == 1:
        return TARGETS
    others = {name: kinds for name, kinds in TARGETS.items() if name != "kafka"}
    return others | {f"kafka-{number + 1}": KILL for number in range(nodes)}


def spoken(text: str, nodes: int = 1) -> list[Fault]:
    """Faults as "kill kafka-2 at 5, pause worker at 8 for 3.5": seconds after a quiet start.

    Raises:
        UserError: it is not said so, or there is no such target, or it cannot be hit so.
    """
    known, faults = targets(nodes), []
    for part in (part.strip() for part in text.split(",")):
        found = SPOKEN.fullmatch(part)
        kinds = {kind: kind for kind in known.get(found[2], ())} if found else {}
        if not found or found[1] not in kinds or (found[1] == "kill") == bool(found[4]):
            ways = "; ".join(f"{name}: {', '.join(kinds)}" for name, kinds in known.items())
            example = "'kill worker at 5', 'pause valkey at 8 for 3'"
            raise UserError(f"--faults: {part!r} is none; say {example} ({ways})")
        faults.append(Fault(float(found[3]), found[2], kinds[found[1]], float(found[4] or 0)))
    return sorted(faults, key=lambda fault: fault.at)


def plan(seed: int, within: float, nodes: int = 1) -> list[Fault]:
    """The faults of a seed in the order of their beginning; equal seeds give equal plans.

    A worker is always among them, and the other one then takes its partitions. Two faults may
    overlap, one may hit what just starts again, and nothing is hit while it is paused.

    Args:
        within: seconds in which all of them begin.
        nodes: of the Kafka.
    """
    known = targets(nodes)
    random = Random(f"chaos/{seed}")
    busy: dict[str, float] = {}
    faults: list[Fault] = []
    times = sorted(random.uniform(0, within) for _ in range(random.randint(FEWEST, MOST)))
    of_worker = random.randrange(len(times))
    for number, at in enumerate(times):
        free = [target for target in known if busy.get(target, -1.0) < at]
        workers = [target for target in free if target.startswith("worker")]
        target = random.choice(workers if number == of_worker and workers else free)
        kind = random.choice(known[target])
        seconds = 0.0 if kind == "kill" else random.uniform(SHORTEST, LONGEST)
        fault = Fault(round(at, 2), target, kind, round(seconds, 2))
        busy[target] = fault.end
        faults.append(fault)
    return faults
