"""How fast the classifier answers inside one process, beside plain transformers in the same run.

Both get the same real comments and one thread. Rates are comments ÷ CPU seconds of the process,
tokenising included, so that other work on the machine says little; the time of a single comment is
by the clock. Runs alternate between ours and the peer's.
"""

from __future__ import annotations

import itertools
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from msgspec import Struct

from models.classifier import Classifier
from models.peer_pipeline import pipeline

PEER_BATCHES = (1, 32)
PEER_TEXTS = {1: 128, 32: 512}  # it is slow, and a rate needs no more
SINGLES = 300

Progress = Callable[[str, float], None]


class SpeedOptions(Struct, frozen=True):
    """What is measured, and how often."""

    runs: int = 5
    engine: str = "torch"
    artifact: Path | None = None


def measured(
    texts: list[str], options: SpeedOptions, trunk: Path, progress: Progress
) -> dict[str, Any]:
    """Comments a second and core, ours and the pipeline's, and label flips against fp32.

    Raises:
        ModelError: the artifact cannot be used.
    """
    progress("loading", 0.0)
    ours = Classifier(trunk, options.artifact, threads=1, device="cpu", engine=options.engine)
    ours.warm_up()
    peer = pipeline(trunk, options.artifact)
    cleaned = [text[:1_000] for text in texts]
    peer(cleaned[:8], 8)
    rates: dict[str, list[float]] = {}
    singles: list[float] = []
    for run in range(options.runs):
        progress("measuring", 0.1 + 0.8 * run / options.runs)
        rates.setdefault("ours", []).append(_rate(ours.predict, texts))
        singles += [_milliseconds(ours, text) for text in _spread(texts, SINGLES // options.runs)]
        for batch in PEER_BATCHES:
            rates.setdefault(f"pipeline_batch_{batch}", []).append(_peer_rate(peer, cleaned, batch))
    median = {name: statistics.median(each) for name, each in rates.items()}
    per_core = median.pop("ours")
    progress("holding against fp32", 0.9)
    p50, p99 = np.percentile(singles, (50, 99)).tolist()
    return {
        "per_core_second": per_core,
        "p50_ms": p50,
        "p99_ms": p99,
        "peers": median,
        "ratio": {name: per_core / each for name, each in median.items()},
        "flips": _flips(ours, Classifier(trunk, options.artifact, dtype="float32"), texts),
        "engine": options.engine,
        "dtype": ours.dtype,
        "model_version": ours.model_version,
        "texts": len(texts),
        "mean_tokens": _mean_tokens(ours, texts),
        "runs": options.runs,
    }


def _rate(answer: Callable[[Sequence[str]], object], texts: Sequence[str]) -> float:
    began = time.process_time()
    answer(texts)
    return len(texts) / (time.process_time() - began)


def _peer_rate(peer: Callable[[list[str], int], object], texts: list[str], batch: int) -> float:
    return _rate(lambda some: peer(list(some), batch), _spread(texts, PEER_TEXTS[batch]))


def _milliseconds(classifier: Classifier, text: str) -> float:
    began = time.perf_counter()
    classifier.predict([text])
    return (time.perf_counter() - began) * 1e3


def _spread(texts: Sequence[str], most: int) -> list[str]:
    """At most so many, from all over the file: neighbours are alike."""
    step = max(1, len(texts) // most)
    return list(itertools.islice(texts, 0, step * most, step))


def _flips(fast: Classifier, exact: Classifier, texts: Sequence[str]) -> float:
    """Share of texts whose likeliest label differs."""
    pairs = zip(fast.predict(texts), exact.predict(texts), strict=True)
    return statistics.fmean(a.label != b.label for a, b in pairs)


def _mean_tokens(classifier: Classifier, texts: Sequence[str]) -> float:
    return statistics.fmean(len(each.ids) for each in classifier.prepare(texts))
