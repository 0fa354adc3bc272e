"""`springtide evaluate sessions`: the next item of anonymous sessions, by the ADER protocol."""

from __future__ import annotations

import json
from datetime import date
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from infra.settings import UserError

if TYPE_CHECKING:
    from online.sessions_stream import SessionStream
    from streams.replay_row import Row

FIELDS = {
    "period": ("period",),
    "session": ("sessionid", "session"),
    "item": ("itemid", "item", "productid", "courseid", "sku"),
    "day": ("day", "date"),
}


class Mode(StrEnum):
    """When the learner may learn what it was tested on."""

    FROZEN = "frozen"
    DAY = "day"
    EVENT = "event"


Data = Annotated[Path, typer.Option(help="CSV or JSONL, gzipped or not, by period and day.")]
When = Annotated[Mode, typer.Option(help="Learn between periods, between days, or every visit.")]
Sample = Annotated[str, typer.Option(help="Rank one prefix in N, as 1/N; without it all.")]
Map = Annotated[str, typer.Option(help="Which column is what: period=…,session=…,item=…[,day=…]")]


def sessions(
    data: Data,
    mode: When = Mode.FROZEN,
    sample: Sample = "1/1",
    map: Map = "",
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
) -> None:
    """Rank the next item of every prefix of every session; R@20, MRR@20, R@10.

    A file of this shape has the columns period and day (whole numbers or dates, never going back;
    the day may be absent but for --mode day), session_id and item_id, one visit a row, sessions in
    their own order. For each period but the first: items not seen in earlier periods are dropped,
    all others are ranked. The figures are means over the periods, each of the same weight.

    Modes: frozen learns between periods only; day between days, too; event after every visit.
    Beware of event: inside a day a file's order is often not time (in DIGINETICA all sessions of
    a day start together), so that event may see what is still to come. Only frozen and day are
    causal there.

    Example: springtide evaluate sessions --data events.csv.gz --mode day --sample 1/10 --json
    """
    one_in = parse_sample(sample)
    stream, skipped = read_sessions(data, map, needs_day=mode is Mode.DAY)
    if len(stream) == 0:
        raise UserError(f"{data}: no row has a period, a session and an item")
    if stream.periods[0] == stream.periods[-1]:
        raise UserError(f"{data}: one period at most; the first is learned, the others are tested")
    found = {
        "visits": len(stream),
        "sessions": len(stream.start) - 1,
        "items": len(stream.item_ids),
        "skipped": skipped,
        "mode": mode.value,
        "methods": {"springtide": run(stream, mode, one_in)},
    }
    print(json.dumps(found) if as_json else table(found))


def parse_sample(text: str) -> int:
    """N of `1/N`.

    Raises:
        UserError: not of that form.
    """
    one, _, number = text.partition("/")
    if one != "1" or not number.isdecimal() or int(number) < 1:
        raise UserError(f"--sample {text}: write 1/N, for example 1/50")
    return int(number)


def read_sessions(data: Path, mapped: str, needs_day: bool) -> tuple[SessionStream, int]:
    """The file as a stream, and the rows left out because a value is missing or no number.

    Raises:
        UserError: the file or a column cannot be used, or its periods or days go back.
    """
    from online.sessions_stream import SessionStreamBuilder
    from streams.replay_columns import choose, parse_map
    from streams.replay_row import LeftOut, UnreadableRowError
    from streams.replay_rows import RowFile

    builder, left_out = SessionStreamBuilder(), LeftOut()
    needed = ["period", "session", "item"] + (["day"] if needs_day else [])
    with RowFile(data) as rows:
        columns = choose(rows.columns, parse_map(mapped, FIELDS), needed, FIELDS).of
        for row in rows:
            try:
                visit = _visit(row, columns)
            except UnreadableRowError as problem:
                left_out.add(row, problem)
                continue
            try:
                builder.add(*visit)
            except ValueError as error:
                raise UserError(f"{data}, row {row.number}: {error}; sort the file") from None
    left_out.tell(data)
    return builder.build(), left_out.count


def _visit(row: Row, columns: dict[str, str]) -> tuple[int, str, str, int]:
    """Period, session, item and day.

    Raises:
        UnreadableRowError: one of them is missing, or no whole number where it must be one.
    """
    from streams.lists_file import id_of

    session, item = (id_of(row, columns, field) for field in ("session", "item"))
    day = _whole(row, columns, "day") if "day" in columns else 0
    return _whole(row, columns, "period"), session, item, day


def _whole(row: Row, columns: dict[str, str], field: str) -> int:
    from streams.lists_file import id_of
    from streams.replay_row import UnreadableRowError

    text = id_of(row, columns, field).removesuffix(".0")  # as pandas writes what has gaps
    try:
        number = int(text) if "-" not in text[1:] else date.fromisoformat(text[:10]).toordinal()
    except ValueError:
        raise UnreadableRowError(f"the {field} {text[:100]!r} is no whole number or date") from None
    if abs(number) >= 2**63:
        raise UnreadableRowError(f"the {field} {text[:100]} is too large")
    return number


def run(stream: SessionStream, mode: Mode, sample: int) -> dict[str, float]:
    """The protocol, with a progress bar on stderr."""
    import time

    from online.sessions import SessionLearner
    from online.sessions_protocol import evaluate_sessions
    from streams.commands.progress import progress_bar

    began = time.thread_time()
    with progress_bar() as bar:
        task = bar.add_task(f"springtide, {mode.value}", total=len(stream))
        found = evaluate_sessions(
            stream, SessionLearner(stream), mode.value, sample, lambda n: bar.advance(task, n)
        )
    return {**found, "seconds": round(time.thread_time() - began, 1)}


def table(found: dict[str, Any]) -> str:
    """What a person reads."""
    lines = [
        f"{found['visits']:,} visits, {found['sessions']:,} sessions, {found['items']:,} items, "
        f"{found['skipped']:,} rows left out; learned by {found['mode']}",
        f"{'in per cent':<20} {'R@20':>6} {'MRR@20':>7} {'R@10':>6} {'s':>6}",
    ]
    for name, method in found["methods"].items():
        recall20, mrr20, recall10 = (100 * method[m] for m in ("recall20", "mrr20", "recall10"))
        lines.append(
            f"{name:<20} {recall20:>6.2f} {mrr20:>7.2f} {recall10:>6.2f} {method['seconds']:>6.0f}"
        )
    return "\n".join(lines)
