"""The fallback of the score agent: the artifact's n-gram expert, in this process.

Where the classifier server is away or overloaded for long, comments are scored by the expert alone
rather than held up: weaker (see the model card), some 30 µs a comment, and marked by its version,
so that such scores can be told apart, and scored again.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from infra.settings import UserError
from streams.classifier_client import Answer

if TYPE_CHECKING:
    from models.ngrams import NGrams


class NGramFallback:
    """The expert of an artifact.

    Attributes:
        version: names it in scored comments: the artifact's version and `-ngrams`.
    """

    def __init__(self, table: NGrams, version: str) -> None:
        self._table = table
        self.version = version

    @classmethod
    def of(cls, artifact: Path | None) -> NGramFallback | None:
        """The expert of an artifact (None: the packaged one); None where it has none.

        Raises:
            UserError: the artifact is absent or altered.
        """
        from models import registry
        from models.errors import ModelError
        from models.ngrams import NGrams
        from models.versions import resolved

        try:
            folder = resolved(artifact)
            manifest = registry.read_manifest(folder)
            if manifest.stack is None:
                return None
            return cls(NGrams.load(folder / registry.NGRAMS), f"{manifest.version}-ngrams")
        except ModelError as error:
            raise UserError(str(error)) from None

    def predict(self, texts: Sequence[str]) -> list[Answer]:
        """One answer a text, in order; a text with nothing to read is neutral and flagged."""
        from models.hygiene import clean
        from models.ngrams import softmax

        cleaned = [clean(text) for text in texts]
        shares = softmax(self._table.logits([each.text for each in cleaned])).tolist()
        return [
            Answer(0.0, 1.0, 0.0, flagged=True, version=self.version)
            if each.flagged
            else Answer(negative, neutral, positive, version=self.version)
            for each, (negative, neutral, positive) in zip(cleaned, shares, strict=True)
        ]
