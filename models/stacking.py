"""Stacking: the n-gram expert beside the fine-tuned trunk, trusted as far as unseen rows say.

The trunk learns from a few thousand rows, the expert from all. Some rows that the trunk was not
shown are held back from a first expert too; on them is chosen how far it is trusted. The expert
that is kept has all rows.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from models import registry
from models.classifier import Classifier
from models.data import NEUTRAL, LabelledSet, parts
from models.digests import sha256
from models.ngrams import NGrams
from models.ngrams_training import MASKED, train_ngrams
from models.registry import Manifest, Stack
from models.sampling import TrainingRow, draw

HELD_SHARE, MOST_HELD, FEWEST = 0.1, 1_500, 200
WEIGHTS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1.0, 1.3, 1.6, 2.0, 2.5)
TEMPERATURES = (0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.2)
LENGTHS = (0.0, 0.25, 0.5, 0.75, 1.0)


def add_expert(
    folder: Path,
    manifest: Manifest,
    sets: Sequence[LabelledSet],
    trunk: Path,
    *,
    drawn: int,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Manifest:
    """Train the n-gram expert and add it to an artifact that was trained on `drawn` rows of `sets`.

    Args:
        progress: called with (rows done, rows).

    Returns:
        The manifest as written; unchanged where fewer than 200 rows are left that the trunk has
        not seen, or where the expert does not lower their log-loss.
    """
    held, rest, all_rows = _parts(sets, drawn, manifest.seed)
    if sum(map(len, held)) < FEWEST:
        return manifest
    done = 0

    def count(more: int) -> None:
        nonlocal done
        done += more
        progress(done, len(rest) + len(all_rows))

    classifier = Classifier(trunk, folder)
    texts = [row.text for group in held for row in group]
    table = train_ngrams(rest, manifest.seed, count)
    stack = fit_stack(trunk_logits(classifier, texts), table, held)
    if not stack.weight:
        return manifest
    train_ngrams(all_rows, manifest.seed, count).save(folder / registry.NGRAMS)
    whole = msgspec.structs.replace(
        manifest,
        stack=stack,
        sha256=manifest.sha256 | {registry.NGRAMS: sha256(folder / registry.NGRAMS)},
    )
    registry.write_manifest(folder, whole)
    return whole


def trunk_logits(classifier: Classifier, texts: Sequence[str]) -> NDArray[np.float32]:
    """The fine-tuned trunk's own logits [texts, 3], without the expert."""
    ids = [row.ids for row in classifier.prepare(texts)]
    logits = np.zeros((len(texts), 3), np.float32)
    readable = [index for index, each in enumerate(ids) if each]
    for batch in classifier.batches([len(ids[index]) for index in readable]):
        places = [readable[index] for index in batch]
        logits[places] = classifier.logits([ids[place] for place in places])
    return logits


def candidates(
    weights: Sequence[float] = WEIGHTS, temperatures: Sequence[float] = TEMPERATURES
) -> Iterator[Stack]:
    """Ways to join an expert to a trunk."""
    return (Stack(*each) for each in itertools.product(weights, temperatures, LENGTHS))


def fit_stack(
    trunk: NDArray[np.float32], table: NGrams, rows: Sequence[Sequence[TrainingRow]]
) -> Stack:
    """The way with the least log-loss, every set counting alike.

    Args:
        trunk: logits [all rows, 3], set after set, on rows that neither was trained on.
        rows: the same rows by set.
    """
    said, grams = table.read([row.text for group in rows for row in group])
    return min(
        candidates(),
        key=lambda way: _log_loss(way.temperature * (trunk + way.trust(grams) * said), rows),
    )


def _log_loss(logits: NDArray[np.floating], rows: Sequence[Sequence[TrainingRow]]) -> float:
    each, start = [], 0
    for group in filter(None, rows):
        scores = logits[start : start + len(group)].astype(np.float64)
        start += len(group)
        scores[[row.two_class for row in group], NEUTRAL] = MASKED
        scores -= scores.max(axis=1, keepdims=True)
        labels = [row.label for row in group]
        right = scores[np.arange(len(group)), labels]
        each.append(float(np.mean(np.log(np.exp(scores).sum(axis=1)) - right)))
    return float(np.mean(each))


def _parts(
    sets: Sequence[LabelledSet], drawn: int, seed: int
) -> tuple[list[list[TrainingRow]], list[TrainingRow], list[TrainingRow]]:
    """Rows held back, by set, the others, and all rows.

    A tenth of a set, at most 1,500; of phrases those alone that stand in no other, as in their
    test part.
    """
    generator = np.random.default_rng(seed)  # as the fine-tuning drew them
    shown = {row.text for row in draw(sets, drawn, generator)[0]}
    held, rest, whole = list[list[TrainingRow]](), list[TrainingRow](), list[TrainingRow]()
    for each in sets:
        own = [TrainingRow(comment.text, comment.label, each.two_class) for comment in each.train]
        inside = parts([row.text for row in own]) if each.phrases else itertools.repeat(False)
        unseen = [
            row
            for row, part in zip(own, inside, strict=False)
            if not part and row.text not in shown
        ]
        most = min(MOST_HELD, int(HELD_SHARE * (len(unseen) if each.phrases else len(own))))
        chosen = [unseen[at] for at in generator.permutation(len(unseen))[:most]]
        kept_back = {row.text for row in chosen}
        held.append(chosen)
        rest += [row for row in own if row.text not in kept_back]
        whole += own
    return held, rest, whole
