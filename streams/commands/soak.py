"""`springtide soak`: does memory grow, or latency drift, under a steady load?"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from streams.commands.bench_run import AsJson, Broker, DataDir, on_embedded_parts
from streams.commands.out_folder import require_folder


def soak(
    minutes: Annotated[float, typer.Option(min=0.5, help="Of load.")] = 30.0,
    rate: Annotated[float, typer.Option(min=60, max=10_000, help="Events a second.")] = 1_000.0,
    warm_up: Annotated[float, typer.Option(min=0, help="Minutes that are not judged.")] = 5.0,
    lessons: Annotated[
        int, typer.Option(min=0, help="Events before, which fill histories (4,096 each).")
    ] = 200_000,
    out: Annotated[Path | None, typer.Option(help="Also write the JSON here.")] = None,
    broker: Broker = "kafka",
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Everything under a steady load; memory and latency sampled every 5 s.

    It holds if worker, classifier and API grow by at most 1 MB a minute after the warm-up (least
    squares), and the lists' p50 and p99 rise by at most 20 % from beginning to end (Theil-Sen).
    Users, items and histories are full: more users come than the worker keeps. Exit code 1 if not.

    Example: springtide soak --minutes 30 --rate 1000 --out soak.json
    """
    from streams.soak import SoakOptions, soak

    require_folder("--out", out)
    options = SoakOptions(
        minutes=minutes, rate=rate, warm_up=warm_up, lessons=lessons, broker=broker
    )
    found = on_embedded_parts(soak, options, data_dir)
    if out is not None:
        out.write_text(json.dumps(found) + "\n", encoding="utf-8")
    if as_json:
        print(json.dumps(found))
    else:
        print(f"{'holds' if found['ok'] else 'does not hold'}: {found['samples']} samples")
        for name, slope in found["mb_a_minute"].items():
            print(f"  {name:>12}  {slope:+.2f} MB a minute")
        for name, drift in found["drift"].items():
            print(f"  {name:>12}  {drift:+.0%} from beginning to end")
    if not found["ok"]:
        raise typer.Exit(1)
