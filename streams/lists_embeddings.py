"""Embeddings of the items of an evaluation, made in this process, kept in a file.

The same vectors as the classifier server's `/embed` gives: by the frozen trunk, or a text ranker.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

from infra.settings import UserError
from streams.embedding_client import PREFIX, TOKENS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from models.classifier import Classifier
    from online.arrays import F32


def embedded(texts: Sequence[str], folder: Path, text_ranker: Path | None = None) -> F32:
    """Unit vectors, float32[texts, width]; zeros for a text with nothing to read.

    Args:
        folder: of the files that keep them, one for these texts and what makes the vectors.
        text_ranker: an artifact that makes them; None: the frozen trunk.

    Raises:
        UserError: trunk, model or ranker cannot be used, or a file cannot be written.
    """
    import numpy as np

    from models.errors import ModelError
    from models.registry import version_of
    from models.trunk import default_cache_dir, trunk_folder
    from models.versions import resolved

    try:
        trunk = trunk_folder(default_cache_dir())
        made_by = trunk.name if text_ranker is None else version_of(resolved(text_ranker))
    except ModelError as error:
        raise UserError(f"embeddings of --item-text: {error}, or --item-vectors tfidf") from None
    digest = hashlib.blake2b(digest_size=16)
    for text in (made_by, PREFIX, str(TOKENS), *texts):
        digest.update(text.encode("utf-8", "surrogatepass") + b"\0")
    file = folder / f"embeddings-{digest.hexdigest()}.npy"
    if file.exists():
        return np.asarray(np.load(file, allow_pickle=False), np.float32)
    from models.classifier import Classifier

    try:
        classifier = Classifier(trunk, text_ranker=text_ranker)
    except ModelError as error:
        raise UserError(str(error)) from None
    found = _computed(classifier, texts)
    partial = file.with_name(file.name + ".partial")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with partial.open("wb") as out:
            np.save(out, found.astype(np.float16), allow_pickle=False)
        partial.replace(file)
    except OSError as error:
        raise UserError(f"{file}: cannot be written ({error.strerror})") from None
    return found


def _computed(classifier: Classifier, texts: Sequence[str]) -> F32:
    import numpy as np

    from models.packing import pack, shortened
    from streams.commands.progress import progress_bar

    readable = [at for at, text in enumerate(texts) if any(map(str.isalnum, text))]
    rows = [
        shortened(row, TOKENS)
        for row in classifier.prepare_embedding([PREFIX + texts[at] for at in readable])
    ]
    found = np.zeros((len(texts), 1), np.float32)
    with progress_bar() as bar:
        task = bar.add_task("embedding items", total=len(rows))
        for batch in pack([len(row) for row in rows], classifier.budget):
            vectors = classifier.embed_items([rows[at] for at in batch])
            if found.shape[1] != vectors.shape[1]:
                found = np.zeros((len(texts), vectors.shape[1]), np.float32)
            # Rounded as they will be read from the file: both runs must give the same figures.
            found[[readable[at] for at in batch]] = vectors.astype(np.float16)
            bar.advance(task, len(batch))
    return found
