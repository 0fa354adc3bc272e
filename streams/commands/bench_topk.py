"""`springtide bench topk`: exact top-10 by inner product, beside `implicit` in the same run."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable
from typing import Annotated, Any

import typer

K, WIDTH, RUNS = 10, 64, 5
SIZES = ((10_000, 1), (100_000, 256), (1_000_000, 64))


def topk(
    largest: Annotated[int, typer.Option(min=10_000, help="Leave out larger catalogues.")] = (
        1_000_000
    ),
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
) -> None:
    """Microseconds a query for the exact best 10 of 10 k items (singly), 100 k and 1 M (batched).

    Each time is CPU time, the median of 5 runs on one thread; `implicit`'s topk gets the same
    factors and batches. Recall is counted against a full sort in float64.

    Example: springtide bench topk --json
    """
    sizes = [measure(items, queries) for items, queries in SIZES if items <= largest]
    found = {"k": K, "factors": WIDTH, "broker": None, "components": ["topk"], "sizes": sizes}
    if as_json:
        print(json.dumps(found))
        return
    for size in sizes:
        print(
            f"{size['items']:>9,} items, {size['queries']:>3} at once: {size['us']:.0f} µs, "
            f"implicit {size['peers']['implicit']:.0f} µs, {size['ratio']['implicit']:.1f} times, "
            f"recall {size['recall']:.3f}"
        )


def measure(items: int, queries: int) -> dict[str, Any]:
    """One size of catalogue."""
    import numpy as np
    from implicit.cpu.topk import topk as implicit_topk
    from threadpoolctl import threadpool_limits

    from online.exact import top_items

    rng = np.random.default_rng(0)
    factors = rng.normal(size=(items, WIDTH)).astype(np.float32)
    batch = rng.normal(size=(queries, WIDTH)).astype(np.float32)
    with threadpool_limits(1):
        found, _ = top_items(factors, batch, K)
        ours = _median_us(lambda: top_items(factors, batch, K), queries)
        theirs = _median_us(lambda: implicit_topk(factors, batch, K, num_threads=1), queries)
    some = batch[:16].astype(np.float64) @ factors.T.astype(np.float64)
    true = np.argsort(-some, axis=1)[:, :K]
    hit = [len(set(a) & set(b)) / K for a, b in zip(found.tolist(), true.tolist(), strict=False)]
    return {
        "items": items,
        "queries": queries,
        "us": round(ours, 1),
        "peers": {"implicit": round(theirs, 1)},
        "ratio": {"implicit": round(theirs / ours, 2)},
        "recall": statistics.mean(hit),
    }


def _median_us(work: Callable[[], Any], queries: int) -> float:
    repeats = 200 if queries == 1 else 1
    times = []
    for _ in range(RUNS):
        began = time.thread_time()
        for _ in range(repeats):
            work()
        times.append((time.thread_time() - began) / repeats / queries * 1e6)
    return statistics.median(times)
