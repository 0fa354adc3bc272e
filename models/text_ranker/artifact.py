"""A trained text ranker on disk, and as it serves: token ids in, item vectors out.

A folder as `registry` has them: the adapter in eight bits, the projection in halves, a manifest
with the hashes of both. It names the trunk that it belongs to, and holds no text and no id.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from models import registry
from models.digests import of_files
from models.errors import ArtifactError
from models.forward import Forward
from models.packing import shortened
from models.registry import Adapter
from models.text_ranker.evaluation import Quality
from models.text_ranker.plan import Plan
from models.tuned import adapted
from models.versions import resolved

if TYPE_CHECKING:
    import torch

    from models.layouts import Layout
    from models.text_ranker.tower import ItemTower

TRAINED = "text-ranker"


class Manifest(Struct, frozen=True):
    """What was trained, on what, and what it came to.

    Attributes:
        trained_until, seen_until: epoch seconds of the stream; training learned from what is before
            the first, and stopped by what lies between the two.
        best, passes: of the texts; `best` 0: no pass was better than the start.
        report: group of events → vectors → quality, on what came after `seen_until`.
    """

    trunk: str
    adapter: Adapter | None
    plan: Plan
    items: int
    pairs: int
    trained_until: float
    seen_until: float
    best: int
    passes: int
    train_seconds: float
    validation: dict[str, Quality]
    report: dict[str, dict[str, Quality]]
    sha256: dict[str, str]
    format: int = registry.FORMAT
    kind: str = TRAINED

    @property
    def version(self) -> str:
        """Names the space that its vectors are of."""
        return f"{self.kind}-{of_files(self.sha256)}"


def save(folder: Path, tower: ItemTower, manifest: Manifest) -> Manifest:
    """Write the tower; the manifest as it was written, with the hashes."""
    adapter, tensors = tower.adapter()
    digests = registry.write_tensors(folder, tensors, tower.heads())
    whole = msgspec.structs.replace(manifest, adapter=adapter, sha256=digests)
    registry.write_manifest(folder, whole)
    return whole


def read_manifest(folder: Path) -> Manifest:
    """Read and check a ranker's manifest and the hashes of its files.

    Raises:
        ArtifactError: absent, of another kind or format, or a file is missing or altered.
    """
    return registry.read_checked(folder, Manifest, TRAINED)


class TextRanker:
    """The item tower in service.

    Args:
        folder: an artifact, or a folder of versions.
        weights: the trunk's (`shape.read_trunk`); trunk: its name.
        beside: the trunk in service, whose embedding tables it shares.

    Raises:
        ArtifactError: the artifact is absent, altered, or made on another trunk.
    """

    def __init__(
        self,
        folder: Path,
        weights: Mapping[str, torch.Tensor],
        trunk: str,
        device: str,
        dtype: str,
        beside: Forward,
    ) -> None:
        folder = resolved(folder)
        self.manifest = read_manifest(folder)
        if self.manifest.trunk != trunk:
            raise ArtifactError(
                f"{folder} was made on the trunk {self.manifest.trunk}, here is {trunk}: "
                f"train it again with `springtide train {TRAINED}`, on the packaged trunk"
            )
        self._reader = beside
        if (adapter := self.manifest.adapter) is not None:
            tensors = registry.read_tensors(folder / registry.ADAPTER)
            tuned = adapted(weights, tensors, adapter.alpha / adapter.rank)
            self._reader = Forward(beside.shape, tuned, device, dtype, embeddings_of=beside)
        heads = registry.read_tensors(folder / registry.HEADS)
        self._weight = heads["projection.weight"].to(device)
        self._bias = heads["projection.bias"].to(device)

    def cut(self, rows: Sequence[Sequence[int]]) -> list[list[int]]:
        """Token ids as training cut them."""
        return [shortened([*row], self.manifest.plan.tokens) for row in rows]

    def embed(self, layout: Layout, rarity: torch.Tensor | None) -> NDArray[np.float32]:
        """Unit vectors float32[texts, width] of one batch.

        Args:
            rarity: weight of each token id in the mean, fp32[vocabulary]; None: all alike.
        """
        import torch
        from torch.nn.functional import linear, normalize

        with torch.inference_mode():
            means = normalize(self._reader.vectors(layout, rarity))
            unit: NDArray[np.float32] = (
                normalize(linear(means, self._weight, self._bias)).cpu().numpy()
            )
        return unit
