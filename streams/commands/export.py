"""`springtide export`: counts for somebody outside, with differential privacy."""

from __future__ import annotations

import asyncio
import csv
import json
import sys
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from pathlib import Path
from typing import Annotated

import typer

from infra.settings import UserError, load_settings
from streams.commands.out_folder import require_folder

LEAST = Fraction(1, 1_000_000)

app = typer.Typer(add_completion=False, rich_markup_mode=None, no_args_is_help=True)


@app.callback()
def group() -> None:
    """Counts that leave the house. Example: springtide export items --epsilon 1 --out items.csv"""


@app.command()
def items(
    epsilon: Annotated[str, typer.Option(help="Privacy budget of this release, such as 0.5.")],
    out: Annotated[Path, typer.Option(help="CSV: item_id, people, negative.")],
    days: Annotated[int, typer.Option(min=1, max=400, help="Whole UTC days before today.")] = 30,
    most_items: Annotated[
        int, typer.Option(min=1, max=1_000, help="Of one person so many items are counted.")
    ] = 10,
    tenant: Annotated[str, typer.Option(help="Whose.")] = "default",
) -> None:
    """How many people took each item, and how many wrote something negative about it.

    ε-differentially private for every person over the whole period (discrete Laplace noise, δ = 0).
    The budget is printed as JSON; releases of overlapping periods add up, and only you know all.

    Example: springtide export items --epsilon 1 --days 30 --out items.csv
    """
    from infra.warehouse import Warehouse
    from streams import topics
    from streams.export import Period, as_rows, catalogue, release

    budget = _fraction(epsilon)
    require_folder("--out", out)
    settings = load_settings()
    topics.require(settings.kafka_url.get_secret_value())
    today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    period = Period(tenant, today - timedelta(days=days), today)
    known = asyncio.run(catalogue(settings.kafka_url.get_secret_value(), tenant))
    if not known:
        raise UserError(f"items.v1 holds no item of {tenant}: the catalogue says what is counted")
    warehouse = Warehouse(settings.clickhouse_url.get_secret_value())
    try:
        released = release(warehouse, known, period, budget, most_items)
    finally:
        warehouse.close()
    with out.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, ["item_id", "people", "negative"])
        writer.writeheader()
        writer.writerows(as_rows(released))
    json.dump(
        {
            "epsilon": released.epsilon,
            "delta": 0,
            "unit": "a person, over the whole period",
            "since": released.since.isoformat(),
            "until": released.until.isoformat(),
            "most_items": released.most_items,
            "half_width_95": released.half_width,
            "items": len(released.items),
        },
        sys.stdout,
    )
    print()


def _fraction(text: str) -> Fraction:
    try:
        found = Fraction(text)
    except (ValueError, ZeroDivisionError):
        found = Fraction(0)
    if not LEAST <= found <= 100:
        raise UserError(f"--epsilon {text}: a number from {float(LEAST):f} to 100")
    return found
