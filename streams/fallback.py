"""The fallback of the score agent: the artifact's n-gram expert, in this process.

Where the classifier server is away or overloaded for long, comments are scored by the expert alone
rather than held up: weaker (see the model card), some 30 µs a comment, and marked by its version,
so that such scores can be told apart, and scored again. Of a folder of versions it is the expert of
the one that the server answers with: it may have refused the current one, or not have it yet.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from infra.settings import UserError
from infra.telemetry import get_logger
from streams.classifier_client import Answer

if TYPE_CHECKING:
    from models.ngrams import NGrams

log = get_logger("score")


class NGramFallback:
    """The expert of an artifact.

    Attributes:
        version: names it in scored comments: the artifact's version and `-ngrams`.

    Args:
        artifact: an artifact, or a folder of versions.
        folder: of the artifact that the expert is of.
    """

    def __init__(self, artifact: Path | None, folder: Path, table: NGrams, version: str) -> None:
        self._artifact, self._folder = artifact, folder
        self._table = table
        self.version = version

    @classmethod
    def of(cls, artifact: Path | None) -> NGramFallback | None:
        """The expert of an artifact (None: the packaged one); None where it has none.

        Raises:
            UserError: the artifact is absent or altered.
        """
        from models.errors import ModelError
        from models.versions import candidates

        problem = ""
        try:
            for folder in candidates(artifact):
                try:
                    found = _expert(folder)
                except ModelError as error:  # the server starts with the one before it, too
                    problem = problem or str(error)
                else:
                    return None if found is None else cls(artifact, folder, *found)
        except ModelError as error:
            problem = str(error)
        raise UserError(problem)

    def predict(self, texts: Sequence[str], served: str = "") -> list[Answer]:
        """One answer a text, in order; a text with nothing to read is neutral and flagged.

        Args:
            served: the server's version, whose expert answers; empty: not known yet.
        """
        from models.hygiene import clean
        from models.ngrams import softmax

        self._follow(served)
        cleaned = [clean(text) for text in texts]
        shares = softmax(self._table.logits([each.text for each in cleaned])).tolist()
        return [
            Answer(0.0, 1.0, 0.0, flagged=True, version=self.version)
            if each.flagged
            else Answer(negative, neutral, positive, version=self.version)
            for each, (negative, neutral, positive) in zip(cleaned, shares, strict=True)
        ]

    def _follow(self, served: str) -> None:
        """What serves now; where that cannot be read, or has no expert, the former one goes on."""
        from models.errors import ModelError
        from models.versions import served_from

        try:
            folder = served_from(self._artifact, served)
            if folder != self._folder:
                self._folder = folder  # one that fails is not tried again
                if found := _expert(folder):
                    self._table, self.version = found
        except (ModelError, OSError) as error:
            log.warning("classifier.fallback_stays", error=str(error))


def _expert(folder: Path) -> tuple[NGrams, str] | None:
    """The expert of an artifact, if it has one, and what scores of it are marked by.

    Raises:
        ModelError: the artifact is absent or altered.
    """
    from models import registry
    from models.ngrams import NGrams

    manifest = registry.read_manifest(folder)
    if manifest.stack is None:
        return None
    return NGrams.load(folder / registry.NGRAMS), f"{manifest.version}-ngrams"
