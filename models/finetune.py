"""Fine-tuning on the known sets, or a CSV: from comments to an artifact.

The recipe is the one measured for the packaged trunk (`session` and `methods` hold it). Topics may
be trained beside the sentiment: one adapter then serves both, and `topic_training` fits the heads.
A student keeps some of the trunk's layers, evenly spread, and may learn from a teacher's answers
beside the labels.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from models import registry
from models.base_model import BaseModel
from models.classifier import Classifier
from models.data import LABELS, LabelledSet, Reader, fingerprint, load_sets, read_columns
from models.fitting import Place, Progress
from models.methods import Method
from models.options import AS_MEASURED, Options
from models.registry import Manifest
from models.sampling import TrainingRow, draw, draw_topics, topic_counts
from models.session import Session
from models.stacking import trunk_logits
from models.topic_data import load_topic_sets

ROWS, EPOCHS = 14_000, 2


def train_sentiment(
    data: Path,
    out: Path,
    trunk: Path,
    *,
    without: Sequence[str] = (),
    topics: Path | None = None,
    method: Method = "lora",
    rows: int = ROWS,
    epochs: int = EPOCHS,
    seed: int = 0,
    threads: int | None = None,
    options: Options = AS_MEASURED,
    base_model: BaseModel | None = None,
    text_prefix: str = "",
    teacher_trunk: Path | None = None,
    keep: bool = False,
    read: Reader = read_columns,
    progress: Progress = lambda step, steps, loss: None,
) -> tuple[Manifest, list[LabelledSet]]:
    """Train on the training parts of the sets under `data` and write an artifact to `out`.

    Args:
        data: a folder of known sets, or a file with the columns text and label.
        trunk: the trunk's folder; base_model: what it is, where it is not the packaged one.
        text_prefix: goes before every text, in training and in service.
        teacher_trunk: the folder of the teacher's trunk; None: the same as is trained.
        without: sets to leave out entirely.
        topics: a folder of known topic sets, or a file with the columns text and label.
        method: of `methods`; "head" takes minutes less and is weaker.
        rows: rows drawn over all sets, by n^0.3; those of topics come on top.
        threads: torch threads; None leaves torch's choice.
        options: what else may be switched on, for every method but "head".
        keep: what is trained so far in `out`, and go on from what the same training kept there;
            `resuming.remove` ends it.
        read: reads files of one's own.
        progress: called with (step, steps, mean loss).

    Returns:
        The manifest (without scores: see `evaluate`), and the sets with their test parts.

    Raises:
        DataError: the comments cannot be read.
        ArtifactError: the teacher cannot be used.
        ModelError: no layer is left to train, or the loss is no number.
    """
    # Before torch is imported: a wrong path is told at once.
    sets = load_sets(data, without, read)
    topic_sets = load_topic_sets(topics, read=read) if topics else []
    import torch

    if threads is not None:
        torch.set_num_threads(threads)
    random.seed(seed)
    torch.manual_seed(seed)
    generator = np.random.default_rng(seed)
    chosen, counts = draw(sets, rows, generator)
    topic_rows = topic_counts(topic_sets, sets, len(chosen))
    chosen += draw_topics(topic_sets, topic_rows, seed)
    lesson, taught_by = _lesson(options.teacher, teacher_trunk or trunk, chosen)
    session = Session(trunk, chosen, method, options, lesson, text_prefix)
    trunk_name = base_model.name if base_model else trunk.name
    place = None
    if keep:
        decides = (trunk_name + text_prefix, method, epochs, seed, taught_by, options, chosen)
        place = Place(out, sha256(msgspec.json.encode(decides, enc_hook=str)).hexdigest())
    session.train(epochs, generator, progress, place)
    adapter, tensors, layers = session.adapter()
    digests = registry.write_tensors(out, tensors, session.heads(), layers)
    manifest = Manifest(
        format=registry.FORMAT,
        trunk=trunk_name,
        max_tokens=session.max_tokens,
        heads={"sentiment": LABELS},
        adapter=adapter,
        method=method,
        seed=seed,
        epochs=epochs,
        trained_rows=counts,
        scores={},
        sha256=digests,
        topic_rows=topic_rows,
        layers=session.layers,
        teacher=taught_by,
        data={each.name: fingerprint((*each.train, *each.test)) for each in sets}
        | {topic.name: fingerprint((*topic.train, *topic.test)) for topic in topic_sets},
        base_model=base_model,
        text_prefix=text_prefix,
    )
    registry.write_manifest(out, manifest)
    return manifest, sets


def _lesson(
    teacher: Path | None, trunk: Path, rows: Sequence[TrainingRow]
) -> tuple[NDArray[np.float32] | None, str]:
    """The teacher's logits [rows, 3], and its version."""
    if teacher is None:
        return None, ""
    classifier = Classifier(trunk, teacher)
    return trunk_logits(classifier, [row.text for row in rows]), classifier.model_version
