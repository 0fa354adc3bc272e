"""What is in Grafana against what should be: compare, and push what nobody has edited by hand."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Literal, Protocol

from msgspec import Struct

from dashboards.grafana_resources import Resource, digest, unstamped

State = Literal["missing", "same", "outdated", "edited"]
SHOWN = 60


class Keeps(Protocol):
    """What is needed of `dashboards.grafana_remote.Remote`."""

    def read(self, resource: Resource) -> dict[str, Any] | None:
        """As Grafana has it, reduced to what is ours; None where it has none."""

    def write(self, resource: Resource, exists: bool) -> None:
        """Make it, or put it in place of what is there."""


class Compared(Struct, frozen=True):
    """A resource and how Grafana's differs.

    Attributes:
        state: "outdated": as it was pushed, and should be otherwise now. "edited": by hand.
        differences: one line each.
    """

    resource: Resource
    state: State
    differences: tuple[str, ...] = ()


def compare(resources: Sequence[Resource], grafana: Keeps) -> list[Compared]:
    """Each resource held against Grafana."""
    return [_compared(each, grafana.read(each)) for each in resources]


def _compared(resource: Resource, found: dict[str, Any] | None) -> Compared:
    if found is None:
        return Compared(resource, "missing")
    content, stamp = unstamped(resource.kind, found)
    differences = tuple(differing(resource.body, content))
    if not differences:
        return Compared(resource, "same")
    as_pushed = stamp == digest(content)
    return Compared(resource, "outdated" if as_pushed else "edited", differences)


def push(compared: Sequence[Compared], grafana: Keeps, force: bool) -> list[Compared]:
    """Write what is missing or outdated; with `force` also over what was edited by hand.

    Returns:
        What was written.
    """
    written = []
    for each in compared:
        if each.state in ("missing", "outdated") or (each.state == "edited" and force):
            grafana.write(each.resource, exists=each.state != "missing")
            written.append(each)
    return written


def differing(wanted: Any, found: Any, path: str = "") -> Iterator[str]:
    """Where two JSON values differ: a line a place."""
    if isinstance(wanted, dict) and isinstance(found, dict):
        for name in sorted({*wanted, *found}):
            here = f"{path}.{name}" if path else name
            if name not in found:
                yield f"{here}: missing in Grafana"
            elif name not in wanted:
                yield f"{here}: only in Grafana ({_short(found[name])})"
            else:
                yield from differing(wanted[name], found[name], here)
    elif isinstance(wanted, list) and isinstance(found, list):
        if len(wanted) != len(found):
            yield f"{path}: {len(wanted)} here, {len(found)} in Grafana"
        for number, (ours, theirs) in enumerate(zip(wanted, found, strict=False)):
            yield from differing(ours, theirs, f"{path}[{number}]")
    elif wanted != found:
        yield f"{path}: {_short(wanted)} here, {_short(found)} in Grafana"


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= SHOWN else text[: SHOWN - 1] + "…"
