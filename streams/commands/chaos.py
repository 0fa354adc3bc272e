"""`springtide chaos`: does anything get lost when parts are killed, paused or cut off?"""

from __future__ import annotations

import json
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from infra.settings import UserError
from streams.commands.bench_run import AsJson, Broker
from streams.commands.progress import with_share_bar

if TYPE_CHECKING:
    from infra.settings import Settings
    from streams.chaos import ChaosOptions


def chaos(
    seeds: Annotated[str, typer.Option(help="Such as 7, 0-199 or 3,5,8-10.")] = "0",
    events: Annotated[int, typer.Option(min=1_000, help="Of each run, at least.")] = 20_000,
    rate: Annotated[float, typer.Option(min=10, max=5_000, help="Events a second.")] = 500.0,
    out: Annotated[
        Path | None, typer.Option(help="One JSON line a seed; seeds that it holds are left out.")
    ] = None,
    keep: Annotated[bool, typer.Option(help="Keep the folder of a run that failed.")] = True,
    broker: Broker = "kafka",
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
    from infra.settings import load_settings
    from streams.chaos import ChaosOptions

    telemetry.configure(level="ERROR")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    options = ChaosOptions(rate=rate, events=events, broker=broker)
    wanted = parse_seeds(seeds)
    done = _done(out)
    failed = 0
    for number in (one for one in wanted if one not in done):
        outcome = _run(number, options, load_settings(), keep)
        failed += not outcome["ok"]
        line = json.dumps(outcome)
        if out is not None:
            with out.open("a", encoding="utf-8") as file:
                file.write(line + "\n")
        print(line if as_json else in_words(outcome), flush=True)
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


def _run(seed: int, options: ChaosOptions, settings: Settings, keep: bool) -> dict[str, Any]:
    import msgspec

    from streams.chaos import run_seed

    folder = Path(tempfile.mkdtemp(prefix=f"springtide-chaos-{seed}-"))
    outcome = with_share_bar(
        lambda progress: run_seed(
            seed,
            options,
            settings,
            folder,
            lambda doing, share: progress(f"{seed}: {doing}", share),
        )
    )
    if outcome.ok or not keep:
        shutil.rmtree(folder, ignore_errors=True)
    else:
        print(f"kept in {folder}", file=sys.stderr)
    found: dict[str, Any] = msgspec.to_builtins(outcome)
    return found


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
