"""What a fine-tuned classifier must beat, each trained on the comments that it was trained on.

`tfidf` and `ngram-all` learn from all training rows, as the artifact's own n-gram expert does;
`probe`, a linear head on the unchanged trunk, from the rows that the artifact's trunk was shown.
A peer is a function from texts to probabilities [texts, 3].
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from models import registry
from models.classifier import Classifier
from models.data import LABELS, LabelledSet
from models.evaluate import probabilities
from models.finetune import EPOCHS
from models.hygiene import clean
from models.ngrams import BITS, TOKEN, softmax
from models.ngrams_training import train_ngrams
from models.registry import Manifest
from models.sampling import TrainingRow, draw_counts
from models.session import Session

Peer = Callable[[Sequence[str]], NDArray[np.float64]]
PEERS = ("tfidf", "ngram-all", "probe")
# scikit-learn's usual strength is too much for short texts; 4 is common and was not tuned.
TFIDF_STRENGTH, TFIDF_STEPS = 4.0, 200


def train_peer(name: str, sets: Sequence[LabelledSet], manifest: Manifest, trunk: Path) -> Peer:
    """One of `PEERS`, trained for an artifact with this manifest on the sets' training parts."""
    if name == "probe":
        return probe(sets, manifest, trunk)
    rows = [
        TrainingRow(comment.text, comment.label, each.two_class)
        for each in sets
        for comment in each.train
    ]
    return tfidf(rows) if name == "tfidf" else all_ngrams(rows, manifest.seed)


def tfidf(rows: Sequence[TrainingRow]) -> Peer:
    """Logistic regression over TF-IDF of words and Han characters, singly and in twos.

    Rows of two-class sets teach it that neutral is rare; it is scored like the others, on
    {negative, positive} there.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression

    vectoriser = TfidfVectorizer(
        token_pattern=TOKEN.pattern, ngram_range=(1, 2), min_df=2, sublinear_tf=True
    )
    features = vectoriser.fit_transform([row.text for row in rows])
    model = LogisticRegression(C=TFIDF_STRENGTH, max_iter=TFIDF_STEPS)
    model.fit(features, [row.label for row in rows])

    def answer(texts: Sequence[str]) -> NDArray[np.float64]:
        shares = np.zeros((len(texts), len(LABELS)))
        shares[:, model.classes_] = model.predict_proba(vectoriser.transform(cleaned(texts)))
        return shares

    return answer


def all_ngrams(rows: Sequence[TrainingRow], seed: int) -> Peer:
    """The n-gram model with every gram that it met, where the artifact keeps 640,000,
    and with its weights as trained, where the artifact rounds them."""
    table = train_ngrams(rows, seed, kept=2**BITS, exact=True)
    return lambda texts: softmax(table.logits(cleaned(texts))).astype(np.float64)


def probe(sets: Sequence[LabelledSet], manifest: Manifest, trunk: Path) -> Peer:
    """A linear head on the frozen trunk, from the rows that the artifact was fine-tuned on."""
    import torch

    torch.manual_seed(manifest.seed)
    generator = np.random.default_rng(manifest.seed)
    rows = draw_counts(sets, manifest.trained_rows, generator)
    session = Session(trunk, rows, "head", text_prefix=manifest.text_prefix)
    session.train(EPOCHS, generator, lambda step, steps, loss: None)
    with tempfile.TemporaryDirectory(prefix="springtide-probe-") as scratch:
        digests = registry.write_tensors(Path(scratch), {}, session.heads())
        plain = msgspec.structs.replace(
            manifest,
            adapter=None,
            stack=None,
            topics={},
            layers=(),
            method="head",
            sha256=digests,
        )
        registry.write_manifest(Path(scratch), plain)
        classifier = Classifier(trunk, Path(scratch))
    return lambda texts: probabilities(classifier, texts)


def cleaned(texts: Sequence[str]) -> list[str]:
    """As the classifier cleans them."""
    return [clean(text).text for text in texts]
