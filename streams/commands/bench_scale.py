"""`springtide bench scale`: what an event and a list cost as users and items grow."""

from __future__ import annotations

import io
import json
import statistics
import time
from pathlib import Path
from typing import Annotated, Any

import typer

USERS = (10_000, 100_000, 1_000_000)
ITEMS = (1_000, 10_000, 100_000)
OTHER_USERS, OTHER_ITEMS = 10_000, 10_000
BATCH, RUNS = 500, 5


def scale(
    events: Annotated[int, typer.Option(min=5_000, help="Learned before measuring.")] = 200_000,
    largest: Annotated[int, typer.Option(min=1_000, help="Leave out larger sizes.")] = 1_000_000,
    out: Annotated[
        Path | None, typer.Option(help="Also write scale.png and scale.html here.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
) -> None:
    """CPU microseconds an event, in batches of 500, and a list, as users and items grow.

    Users follow a path through the catalogue with jumps to items of Zipf popularity. All users and
    all items are known, by one event each, before the time is taken (where items grow, by as many
    for every size: histories are as long); the median of 5 runs is reported.

    Example: springtide bench scale --out plots --json
    """
    from online.warm_up import warm_up

    warm_up()
    items = [n for n in ITEMS if n <= largest]
    found: dict[str, Any] = {
        "users": [measure(n, OTHER_ITEMS, events) for n in USERS if n <= largest],
        "items": [measure(OTHER_USERS, n, events, meetings=items[-1]) for n in items],
        "broker": None,
    }
    for axis in ("users", "items"):
        sizes = found[axis]
        found[f"{axis}_ratio"] = round(sizes[-1]["event_us"] / sizes[0]["event_us"], 2)
    if out is not None:
        plot(found, out)
    if as_json:
        print(json.dumps(found))
        return
    for size in found["users"] + found["items"]:
        print(
            f"{size['users']:>9,} users, {size['items']:>7,} items: "
            f"{size['event_us']:.1f} µs an event, {size['list_us']:.1f} µs a list"
        )


def measure(users: int, items: int, events: int, meetings: int = 0) -> dict[str, Any]:
    """One size.

    Args:
        meetings: events, at least, by which the items become known: with as many for every size a
            user's history is as long, whatever their number.
    """
    import numpy as np

    from online.learner import Learner, LearnerConfig

    rng = np.random.default_rng(0)
    learner = Learner(LearnerConfig(max_users=users, max_items=max(items, 1)))
    place = rng.integers(items, size=users)

    def walk(who: Any) -> Any:
        jumps = rng.random(len(who)) < 0.3
        popular = (items ** rng.random(len(who))).astype(np.int64) - 1
        return np.where(jumps, popular, (place[who] + rng.integers(1, 4, len(who))) % items)

    def learn(who: Any, to: Any = None) -> None:
        place[who] = walk(who) if to is None else to
        names = [f"u{u}" for u in who.tolist()], [f"i{i}" for i in place[who].tolist()]
        began.append(time.thread_time())
        learner.learn(0, *names, np.zeros(len(who), np.int8), np.zeros(len(who)))
        ended.append(time.thread_time())

    began: list[float] = []
    ended: list[float] = []
    active = rng.permutation(users)
    for start in range(0, users, 5_000):
        learn(active[start : start + 5_000])
    known_by = max(items, meetings)
    for start in range(0, known_by, 5_000):
        known = np.arange(start, min(start + 5_000, known_by))
        learn(active[known % users], known % items)
    busy = active[:5_000] if users > 10_000 else active
    for start in range(0, events, 5_000):
        learn(busy[rng.integers(len(busy), size=min(5_000, events - start))])
    event_us, list_us = [], []
    for _ in range(RUNS):
        began.clear()
        ended.clear()
        for _ in range(8):
            learn(active[rng.integers(users, size=BATCH)])
        spent = sum(e - b for b, e in zip(began, ended, strict=True))
        event_us.append(spent / (8 * BATCH) * 1e6)
        at = time.thread_time()
        for u in rng.integers(users, size=200).tolist():
            learner.top_k(f"u{u}")
        list_us.append((time.thread_time() - at) / 200 * 1e6)
    return {
        "users": users,
        "items": learner.items,
        "event_us": round(statistics.median(event_us), 2),
        "list_us": round(statistics.median(list_us), 2),
        "components": list(learner.config.components),
    }


def plot(found: dict[str, Any], out: Path) -> None:
    """scale.png and scale.html: cost against size."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    out.mkdir(parents=True, exist_ok=True)
    figure, panels = pyplot.subplots(1, 2, figsize=(9, 3.5), sharey=True)
    for axis, panel in zip(("users", "items"), panels, strict=True):
        for cost, label in (("event_us", "an event"), ("list_us", "a list")):
            sizes = found[axis]
            panel.plot([s[axis] for s in sizes], [s[cost] for s in sizes], "o-", label=label)
        panel.set(xscale="log", xlabel=axis, ylabel="µs", ylim=(0, None))
        panel.legend()
    figure.tight_layout()
    figure.savefig(out / "scale.png", dpi=120)
    drawing = io.StringIO()
    figure.savefig(drawing, format="svg")
    pyplot.close(figure)
    svg = drawing.getvalue()
    page = f"<!doctype html><meta charset=utf-8><title>Scale</title>{svg[svg.index('<svg') :]}"
    (out / "scale.html").write_text(page, encoding="utf-8")
