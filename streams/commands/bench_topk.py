"""`springtide bench topk`: exact top-10 by inner product, beside `implicit` in the same run."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable
from typing import Annotated, Any

import typer

K, WIDTH, RUNS, AT_ONCE = 10, 64, 5, 256
SIZES = (10_000, 100_000, 1_000_000)
SINGLY_UP_TO = 10_000  # items; larger catalogues are meant to be asked in batches
SPENT_US = 200_000  # at least, in a run


def topk(
    largest: Annotated[int, typer.Option(min=10_000, help="Leave out larger catalogues.")] = (
        1_000_000
    ),
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
) -> None:
    """Microseconds a query for the exact best 10 of 10 k, 100 k and 1 M items.

    We are asked singly at 10 k items and 256 queries at once beyond ("us"); both are shown.
    `implicit` is asked by `recommend`, singly as a service would ask it ("ratio") and 256 users at
    once ("ratio_batched"), with the same factors and nothing filtered. All on one thread, CPU time,
    the median of 5 runs. Recall is counted against a full sort in float64, over all 256 queries.

    Example: springtide bench topk --json
    """
    sizes = [measure(items) for items in SIZES if items <= largest]
    found = {"k": K, "factors": WIDTH, "broker": None, "components": ["topk"], "sizes": sizes}
    if as_json:
        print(json.dumps(found))
        return
    for size in sizes:
        peers = size["peers"]
        print(
            f"{size['items']:>9,} items: {size['single_us']:.0f} µs singly, "
            f"{size['batched_us']:.0f} µs of {AT_ONCE} at once; implicit {peers['implicit']:.0f} "
            f"and {peers['implicit_batched']:.0f} µs; its recommend takes "
            f"{size['ratio']['implicit']:.1f} times as long singly, "
            f"{size['ratio_batched']['implicit']:.1f} times batched; recall {size['recall']:.3f}"
        )


def measure(items: int) -> dict[str, Any]:
    """One size of catalogue."""
    import numpy as np
    import scipy.linalg  # noqa: F401  (its BLAS is implicit's, and must be there to be limited)
    from threadpoolctl import threadpool_limits

    from online.exact import in_bytes, top_items, top_items_of_one

    rng = np.random.default_rng(0)
    factors = rng.normal(size=(items, WIDTH)).astype(np.float32)
    queries = rng.normal(size=(AT_ONCE, WIDTH)).astype(np.float32)
    began = time.thread_time()
    coarse = in_bytes(factors)
    prepared_ms = (time.thread_time() - began) * 1e3

    def one(q: int) -> Any:
        return top_items_of_one(factors, coarse, queries[q], K)

    with threadpool_limits(1):
        recommend = _implicit(factors, queries)
        batch, _ = top_items(factors, queries, K)
        singles = np.stack([one(q)[0] for q in range(AT_ONCE)])
        single = _median_us(one)
        batched = _median_us(lambda _: top_items(factors, queries, K), AT_ONCE)
        theirs = _median_us(recommend)
        theirs_batched = _median_us(lambda _: recommend(np.arange(AT_ONCE)), AT_ONCE)
    true = _sorted_in_float64(factors, queries)
    ours = single if items <= SINGLY_UP_TO else batched
    return {
        "items": items,
        "queries": 1 if items <= SINGLY_UP_TO else AT_ONCE,
        "us": round(ours, 1),
        "single_us": round(single, 1),
        "batched_us": round(batched, 1),
        "prepared_ms": round(prepared_ms, 1),
        "peers": {"implicit": round(theirs, 1), "implicit_batched": round(theirs_batched, 1)},
        "ratio": {"implicit": round(theirs / ours, 2)},
        "ratio_batched": {"implicit": round(theirs_batched / batched, 2)},
        "recall": min(_recall(batch, true), _recall(singles, true)),
    }


def _implicit(factors: Any, queries: Any) -> Callable[[Any], Any]:
    """`recommend` of one user, or of several, of an ALS model with these factors."""
    import numpy as np
    from implicit.cpu.als import AlternatingLeastSquares
    from scipy.sparse import csr_matrix

    model = AlternatingLeastSquares(factors=WIDTH, num_threads=1)
    model.item_factors, model.user_factors = factors, queries
    nothing = csr_matrix((len(queries), len(factors)), dtype=np.float32)

    def recommend(users: Any) -> Any:
        return model.recommend(users, nothing, N=K, filter_already_liked_items=False)

    return recommend


def _sorted_in_float64(factors: Any, queries: Any) -> Any:
    """The best K of a full sort, int64[queries, K]."""
    import numpy as np

    exact = factors.astype(np.float64)
    return np.stack([np.argsort(-(exact @ query), kind="stable")[:K] for query in queries])


def _recall(found: Any, true: Any) -> float:
    hits = [len({*a} & {*b}) for a, b in zip(found.tolist(), true.tolist(), strict=True)]
    return statistics.fmean(hits) / K


def _median_us(ask: Callable[[int], Any], at_once: int = 1) -> float:
    """CPU time a query, the median of the runs; every call asks for another one."""
    began = time.thread_time()
    ask(0)
    repeats = max(1, round(SPENT_US / max((time.thread_time() - began) * 1e6, 1)))
    times = []
    for _ in range(RUNS):
        began = time.thread_time()
        for n in range(repeats):
            ask(n % AT_ONCE)
        times.append((time.thread_time() - began) / repeats / at_once * 1e6)
    return statistics.median(times)
