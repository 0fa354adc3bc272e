"""A text on its way through the classifier: prepared for the device, and answered."""

from __future__ import annotations

from msgspec import Struct


class Prediction(Struct, frozen=True):
    """Probabilities that sum to 1, the likeliest label, and whether there was nothing to read.

    `topics`: probabilities in the order of its labels for every topic head, where they were asked
    for and there was something to read.
    """

    negative: float
    neutral: float
    positive: float
    label: str
    flagged: bool
    topics: dict[str, list[float]] = {}


class Prepared(Struct, frozen=True):
    """A cleaned, tokenised text. `ids` is empty where the text is flagged.

    `ngrams`: what the n-gram expert adds to the trunk's logits, in the order of `LABELS`;
    `text`: cleaned, where the topic heads are asked too, else empty.
    """

    ids: list[int]
    ngrams: tuple[float, float, float] = (0.0, 0.0, 0.0)
    text: str = ""

    @property
    def flagged(self) -> bool:
        """There is nothing to read: the answer is neutral without asking the model."""
        return not self.ids


UNREADABLE = Prediction(negative=0.0, neutral=1.0, positive=0.0, label="neutral", flagged=True)

# Texts that every model version can answer: for warm-up, and to tell a bad text from a bad device.
CANARIES = (
    "The lessons are clear and the teacher is wonderful.",
    "Terrible support, I want my money back.",
    "It starts on Monday at nine.",
    "课程内容很充实，老师讲得很好。",
    "质量太差了，浪费钱。",
    "El curso dura tres semanas.",
)
