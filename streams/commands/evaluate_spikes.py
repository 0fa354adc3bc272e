"""`springtide evaluate spikes`: the spike detectors on a file of yours, with their false alarms."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from infra.settings import UserError
from streams.commands.out_folder import require_folder
from streams.commands.progress import with_share_bar

if TYPE_CHECKING:
    from online.spikes_replays import Stream

MOST_TOLD = 20


def spikes(
    data: Annotated[Path, typer.Option(help="CSV or JSON Lines, gzipped or not.")],
    map: Annotated[
        str, typer.Option(help="time=…[,key=…],label=…|rating=…|negative=…[,text=…]: columns.")
    ],
    budget: Annotated[
        float, typer.Option(min=1e-3, max=1_000, help="False alarms a day that are allowed.")
    ] = 1.0,
    replays: Annotated[int, typer.Option(min=1, max=1_000, help="With permuted labels.")] = 20,
    peers: Annotated[bool, typer.Option(help="Also the rules that others use.")] = True,
    plot: Annotated[Path | None, typer.Option(help="HTML: shares and alarms by key.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
) -> None:
    """What would have fired, how often it fires by chance, and what it finds.

    Chance: the labels are permuted within key and season, so that no spike is left; each alarm is
    a false one. Found: spikes of known places are put into such replays (share × 2-4, number of
    comments × 1-5, for 1-3 hours). Peers are tuned afterwards to the same budget. Ratings of 1 and
    2 of 5 are negative; without a key the file is one stream.

    Example: springtide evaluate spikes --data tweets.csv.gz
    --map time=time,key=airline,label=airline_sentiment,text=text --plot alarms.html
    """
    from streams.spikes_file import parse_spike_map, read_spike_stream

    if plot is not None and plot.suffix != ".html":
        raise UserError(f"--plot {plot}: name a file that ends in .html")
    require_folder("--plot", plot)
    columns = parse_spike_map(map)
    stream, texts, skipped = read_spike_stream(data, columns)

    from online.spikes_evaluate import evaluate

    found = with_share_bar(lambda progress: evaluate(stream, budget, replays, peers, progress))
    if "text" in columns:
        _add_terms(found, stream, texts)
    found["skipped"] = skipped
    if plot is not None:
        from streams.spikes_plot import write_plot

        write_plot(plot, data.name, stream, found)
    print(json.dumps(found) if as_json else table(found))


def _add_terms(found: dict[str, Any], stream: Stream, texts: list[str]) -> None:
    """What each alert's comments say that the others before them do not."""
    from bisect import bisect_left

    from online.spikes_terms import contrastive

    at = stream.at.tolist()
    for alert in found["alerts"]:
        first, last = bisect_left(at, alert["started_at"]), bisect_left(at, alert["raised_at"]) + 1
        name = alert["key"].partition(":")[2]
        inside = [
            (texts[i], float(stream.negative[i]))
            for i in range(max(0, first), last)
            if not name or stream.names[stream.key[i]] == name
        ]
        before = range(max(0, first - 2_000), first)
        others = [(texts[i], 1.0 - float(stream.negative[i])) for i in before]
        alert["terms"] = [each.term for each in contrastive(inside, others, 10, name)]


def table(found: dict[str, Any]) -> str:
    """What a person reads."""
    lines = [
        f"{found['comments']:,} comments, {found['keys']:,} keys, {found['days']:.1f} days, "
        f"{found['skipped']:,} rows left out",
        f"{len(found['alerts'])} would have fired",
    ]
    for alert in found["alerts"][:MOST_TOLD]:
        start, told = (_clock(alert[name]) for name in ("started_at", "raised_at"))
        lines.append(
            f"  {alert['key']}: since {start}, told {told}, {alert['negatives']} of "
            f"{alert['comments']} ({alert['share']:.0%}, usually {alert['baseline']:.0%}), "
            f"10^{alert['evidence']:.1f} {', '.join(alert.get('terms', [])[:5])}".rstrip()
        )
    null = found["null"]
    lines.append(
        f"by chance (labels permuted within key and {null['permuted_within']}): "
        f"{null['false_alarms_per_day']:.2f} a day, at most {null['upper95']:.2f} (95 %)"
    )
    rows = {"springtide": found["injection"], **found["peers"]}
    lines.append(
        f"{'injected spikes':<15} {'recall':>7} {'precision':>9} {'delay':>7} {'÷ Lorden':>8}"
    )
    for name, row in rows.items():
        shown = (row["recall"], row["precision"], row["delay_minutes"], row["delay_over_lorden"])
        texts = [
            "-" if value is None else format(value, form)
            for value, form in zip(shown, (".2f", ".2f", ".0f", ".2f"), strict=True)
        ]
        lines.append(f"{name:<15} {texts[0]:>7} {texts[1]:>9} {texts[2]:>7} {texts[3]:>8}")
    return "\n".join(lines)


def _clock(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M")
