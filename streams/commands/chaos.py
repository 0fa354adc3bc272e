"""`springtide chaos`: does anything get lost when parts are killed, paused or cut off?"""

from __future__ import annotations

import json
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from infra.settings import UserError
from streams.commands.bench_run import AsJson, Broker
from streams.commands.out_folder import require_folder
from streams.commands.progress import with_share_bar

if TYPE_CHECKING:
    from streams.chaos import ChaosOptions

Told = Callable[[dict[str, Any]], None]


def chaos(
    seeds: Annotated[str, typer.Option(help="Such as 7, 0-199 or 3,5,8-10.")] = "0",
    events: Annotated[int, typer.Option(min=1_000, help="Of each run, at least.")] = 20_000,
    rate: Annotated[float, typer.Option(min=10, max=5_000, help="Events a second.")] = 500.0,
    rounds: Annotated[
        int,
        typer.Option(min=1, max=50, help="Seeds that one house lives through before a new one."),
    ] = 1,
    out: Annotated[
        Path | None, typer.Option(help="One JSON line a seed; seeds that it holds are left out.")
    ] = None,
    keep: Annotated[bool, typer.Option(help="Keep the folder of a run that failed.")] = True,
    broker: Broker = "kafka",
    nodes: Annotated[int, typer.Option(min=1, max=3, help="Of the Kafka.")] = 1,
    faults: Annotated[
        str,
        typer.Option(help="In place of a seed's: 'kill kafka-2 at 5, pause worker at 8 for 3'."),
    ] = "",
    swing: Annotated[
        float, typer.Option(min=0, max=0.9, help="More by day, less by night; 0: an even rate.")
    ] = 0.4,
    comments: Annotated[
        float, typer.Option(min=0, max=1, help="Chance that a click leads to a comment.")
    ] = 0.16,
    live: Annotated[
        bool,
        typer.Option("--live", help="Events are of now, at an even rate; else days go by."),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Run everything on this machine and disturb it: 3 to 6 faults a run, decided by a seed.

    Worker, classifier, Kafka, Valkey, ClickHouse and webhook receiver are killed (-9), paused, or
    their lines slowed, stalled or cut while events come in. Afterwards every acknowledged event
    must have been learned once and archived once, every comment scored once, every list must be as
    new as its user's last event, every incident raised once, and lists must be fresh again within
    30 s. It is counted from outside. Exit code 1 if a run fails.

    Example: springtide chaos --seeds 0-9 --out outcomes.jsonl
    """
    from infra import telemetry
    from streams.chaos import ChaosOptions
    from streams.chaos_plan import spoken

    telemetry.configure(level="ERROR")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    said = tuple(spoken(faults, nodes)) if faults else ()
    options = ChaosOptions(rate, events, broker, nodes, said, swing, comments, live)
    require_folder("--out", out)
    done, failed = _done(out), 0

    def told(outcome: dict[str, Any]) -> None:
        nonlocal failed
        failed += not outcome["ok"]
        line = json.dumps(outcome)
        if out is not None:
            with out.open("a", encoding="utf-8") as file:
                file.write(line + "\n")
        print(line if as_json else in_words(outcome), flush=True)

    left = [one for one in parse_seeds(seeds) if one not in done]
    while left:
        del left[: _house(left[:rounds], options, keep, told)]
    if failed:
        raise typer.Exit(1)


def parse_seeds(text: str) -> list[int]:
    """Numbers and ranges, ends included.

    Raises:
        UserError: it is neither.
    """
    return list(dict.fromkeys(_seeds(text)))


def _seeds(text: str) -> Iterator[int]:
    for part in text.split(","):
        first, _, last = part.strip().partition("-")
        if not first.isdecimal() or not (last or first).isdecimal():
            raise UserError(f"--seeds {text}: use numbers and ranges, such as 3,5,8-10")
        yield from range(int(first), int(last or first) + 1)


def _done(out: Path | None) -> set[int]:
    if out is None or not out.exists():
        return set()
    return {json.loads(line)["seed"] for line in out.read_text("utf-8").splitlines() if line}


def _house(seeds: list[int], options: ChaosOptions, keep: bool, told: Told) -> int:
    """How many of the seeds were run; the house stands until one does not hold."""
    import msgspec

    from infra.settings import load_settings
    from streams.chaos import Outcome, run_seeds

    folder = Path(tempfile.mkdtemp(prefix=f"springtide-chaos-{seeds[0]}-"))
    outcomes: list[Outcome] = []

    def one(outcome: Outcome) -> None:
        outcomes.append(outcome)
        told(msgspec.to_builtins(outcome))

    with_share_bar(
        lambda progress: run_seeds(seeds, options, load_settings(), folder, progress, one)
    )
    if not keep or all(outcome.ok for outcome in outcomes):
        shutil.rmtree(folder, ignore_errors=True)
    else:
        print(f"kept in {folder}", file=sys.stderr)
    return len(outcomes)


def in_words(outcome: dict[str, Any]) -> str:
    """One line for people."""
    verdict = outcome["verdict"]
    faults = ", ".join(f"{one['kind']} {one['target']}" for one in outcome["faults"])
    return (
        f"seed {outcome['seed']} {'holds' if outcome['ok'] else 'FAILS'}: "
        f"{verdict['events']:,} events, {verdict['lost']} lost, {verdict['doubled']} doubled, "
        f"{verdict['stale']} stale lists, {'stuck, ' if outcome['stuck'] else ''}"
        f"fresh after {outcome['recovered_seconds']} s ({faults})"
    )
