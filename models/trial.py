"""A trial before a version is promoted: loaded as a server loads it, and asked.

Hashes tell that files are those that were written, not that what was written can be used.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from models import registry
from models.base_model import trunk_of
from models.classifier import Classifier
from models.errors import ArtifactError, ModelError, told
from models.predictions import CANARIES
from models.text_ranker.artifact import TRAINED


def try_out(artifact: Path, cache: Path, elsewhere: str = "") -> None:
    """Answer a few texts with an artifact of any kind, on the CPU in fp32.

    Args:
        cache, elsewhere: where the trunk is (`base_model.trunk_of`).

    Raises:
        ArtifactError: it cannot be loaded, or does not answer.
        TrunkMissingError: there is no trunk here to try it on.
    """
    ranks = registry.kind_of(artifact) == TRAINED
    served = registry.packaged_artifact() if ranks else artifact
    try:
        classifier = Classifier(
            trunk_of(registry.read_manifest(served), cache, elsewhere),
            served,
            device="cpu",
            dtype="float32",
            text_ranker=artifact if ranks else None,
        )
        answers = classifier.predict(CANARIES, topics=True)
        numbers = [np.array(shares) for each in answers for shares in each.topics.values()]
        if ranks:
            numbers = [classifier.embed_items([row.ids for row in classifier.prepare(CANARIES)])]
    except ModelError:
        raise
    except Exception as error:  # whatever it is, it would fail in service, too
        raise ArtifactError(f"{artifact} cannot be used: {told(error)}") from None
    if not all(np.isfinite(each).all() for each in numbers):
        raise ArtifactError(f"{artifact} answers with something that is no number")
