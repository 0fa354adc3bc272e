"""`--engine auto` of the classifier server: held against fp32 on simulated comments."""

from __future__ import annotations

from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, get_args

from infra.telemetry import get_logger

if TYPE_CHECKING:
    from models.classifier import Classifier

COMMENTS = 256


def settled(
    engine: str, trunk: Path, artifact: Path | None, device: str | None, threads: int, cache: Path
) -> tuple[str, str | None]:
    """Engine and precision to serve with; the engine asked for, unless that is "auto".

    On a GPU there is one engine. Elsewhere the first start takes some half a minute more, later
    ones read what it found.

    Raises:
        models.errors.ModelError: the artifact cannot be used.
    """
    from models import engines
    from models.classifier import Classifier

    if engine != engines.AUTO:
        return engine, None
    import torch

    if (device or ("cuda" if torch.cuda.is_available() else "cpu")) != "cpu":
        return "torch", None

    def make(name: str, dtype: str | None) -> Classifier:
        return Classifier(trunk, artifact, device="cpu", dtype=dtype, threads=threads, engine=name)

    choice = engines.chosen(make, comments(), artifact, threads, cache)
    get_logger("classifier").info(
        "classifier.engine",
        engine=choice.engine,
        dtype=choice.dtype,
        measured={f"{each.engine} {each.dtype}": each.per_core_second for each in choice.measured},
        flips={f"{each.engine} {each.dtype}": each.flips for each in choice.measured},
    )
    return choice.engine, choice.dtype if choice.engine == "torch" else None


def comments() -> list[str]:
    """As the simulation writes them: Chinese and English, every sentiment, always the same ones."""
    from streams.simulate_comments import write
    from streams.simulate_phrases import Sentiment

    random = Random(0)
    sentiments: tuple[Sentiment, ...] = get_args(Sentiment)
    return [
        write(random.choice(sentiments), random.choice(("zh", "en")), "Python", random)
        for _ in range(COMMENTS)
    ]
