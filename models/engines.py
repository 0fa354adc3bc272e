"""Which engine and precision serve: the fastest here that passes the parity gate.

Each candidate answers the same few hundred comments; one that changes more labels of fp32's than
its gate allows is out, of the others the quickest wins. The choice is kept in the cache under the
artifact's version, the processor and the threads, and made anew when one of them changes.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import platform
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
from msgspec import Struct

from models import registry
from models.classifier import Classifier
from models.versions import resolved

AUTO = "auto"
# Engine, precision, and the share of labels that may differ from fp32's.
CANDIDATES = (
    ("torch", "float32", 0.0),
    ("torch", "bfloat16", 0.002),
    ("torch", "int8", 0.002),  # close calls are bf16's (`two_looks`)
    ("openvino", "int8", 0.01),
)
PASSES = 2

Make = Callable[[str, str | None], Classifier]


class Measured(Struct, frozen=True):
    """One candidate: comments a CPU second, and the share of labels unlike fp32's."""

    engine: str
    dtype: str
    per_core_second: float
    flips: float
    passed: bool


class Choice(Struct, frozen=True):
    """What serves, and what it was held against."""

    engine: str
    dtype: str
    measured: tuple[Measured, ...]


def chosen(
    make: Make, texts: Sequence[str], artifact: Path | None, threads: int, cache_dir: Path
) -> Choice:
    """The choice for this artifact on this machine, from the cache where it was made before.

    Args:
        make: a classifier by engine and precision ("int8" is what openvino has).
        texts: comments to measure on, a few hundred.

    Raises:
        ArtifactError: the artifact is absent or altered.
    """
    version = registry.read_manifest(resolved(artifact)).version
    path = cache_dir / "engines" / f"{version}-{_machine(threads)}.json"
    try:
        return msgspec.json.decode(path.read_bytes(), type=Choice)
    except (OSError, msgspec.DecodeError):
        choice = measure(make, texts)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(msgspec.json.format(msgspec.json.encode(choice), indent=1) + b"\n")
    return choice


def measure(make: Make, texts: Sequence[str]) -> Choice:
    """Hold the candidates that are installed against fp32, one after the other."""
    expected: list[str] = []
    found = []
    for engine, dtype, allowed in CANDIDATES:
        if engine != "torch" and importlib.util.find_spec(engine) is None:
            continue
        classifier = make(engine, dtype if engine == "torch" else None)
        if classifier.dtype != dtype:  # this processor has no such units: it was measured already
            continue
        classifier.warm_up()
        seconds = min(_seconds(classifier, texts) for _ in range(PASSES))
        labels = [each.label for each in classifier.predict(texts)]
        expected = expected or labels
        flips = sum(a != b for a, b in zip(labels, expected, strict=True)) / len(texts)
        found.append(Measured(engine, dtype, len(texts) / seconds, flips, flips <= allowed))
    best = max((each for each in found if each.passed), key=lambda each: each.per_core_second)
    return Choice(best.engine, best.dtype, tuple(found))


def _seconds(classifier: Classifier, texts: Sequence[str]) -> float:
    began = time.process_time()  # by the clock, other work on the machine would choose
    classifier.predict(texts)
    return time.process_time() - began


def _machine(threads: int) -> str:
    """Names processor, threads and the versions that compute."""
    import torch

    versions = [str(torch.__version__)]
    if importlib.util.find_spec("openvino") is not None:
        versions.append(importlib.metadata.version("openvino"))
    said = (platform.machine(), *_processor(), str(threads), str(CANDIDATES), *versions)
    return hashlib.sha256("\n".join(said).encode()).hexdigest()[:12]


def _processor() -> list[str]:
    """What Linux says that the first processor is and can do; elsewhere what Python knows."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").split("\n\n")[0].splitlines()
    except OSError:
        return [platform.processor()]
    return [line for line in lines if line.startswith(("model name", "flags", "model\t"))]
