"""Shadow: a second version scores what the first has answered, and disagreement is counted.

It works only while nobody waits, on texts kept for it from the latest answers, so it delays an
answer by one turn of its own at most; what it cannot keep up with is dropped and counted.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from models.classifier import Classifier
from models.hygiene import MAX_CHARACTERS
from models.metrics import ClassifierMetrics
from models.waiting import Answer

KEPT = 1_024
AT_ONCE = 32


class Shadow:
    """The second version and the texts it has still to score."""

    def __init__(self, classifier: Classifier, metrics: ClassifierMetrics) -> None:
        self.classifier = classifier
        self._metrics = metrics
        self._kept: deque[tuple[str, str]] = deque()

    @property
    def idle(self) -> bool:
        """Nothing is left to score."""
        return not self._kept

    def offer(self, texts: Sequence[object], answers: Sequence[Answer]) -> None:
        """Keep what the current version answered and read of it, the latest at most."""
        for text, answer in zip(texts, answers, strict=True):
            if isinstance(text, str) and not answer.prediction.flagged:
                self._kept.append((text[:MAX_CHARACTERS], answer.prediction.label))
        while len(self._kept) > KEPT:
            self._kept.popleft()
            self._metrics.shadowed.labels("dropped").inc()

    def take(self) -> list[tuple[str, str]]:
        """Texts for one turn, each with the current version's label."""
        return [self._kept.popleft() for _ in range(min(AT_ONCE, len(self._kept)))]

    def score(self, taken: Sequence[tuple[str, str]]) -> None:
        """One turn, in the device's thread."""
        found = self.classifier.predict([text for text, _ in taken])
        for (_, label), other in zip(taken, found, strict=True):
            outcome = "agreed" if other.label == label else "disagreed"
            self._metrics.shadowed.labels(outcome).inc()
