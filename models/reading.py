"""What reads token ids: the trunk as it is, as an artifact changes it, and that in eight bits.

And the head that reads what these make of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from models import registry
from models.data import LABELS
from models.errors import ArtifactError, EngineMissingError
from models.forward import Forward, best_dtype, of_tiles
from models.openvino_engine import OpenVino
from models.registry import Manifest
from models.shape import Shape
from models.tuned import Tuned, tuned

if TYPE_CHECKING:
    import torch

    from models.tiles import Tiles

INT8, UNDER_INT8 = "int8", "bfloat16"


class Reading(NamedTuple):
    """`reader`: trunk with adapter; `quick`: the same in eight bits, for a first look
    (`two_looks`), None where there is none. `dtype`: of what answers; the trunk's own is in `of`,
    behind its name and the device.
    """

    of: tuple[str, str, str]
    trunk: Forward
    reader: Forward | OpenVino
    quick: Tiles | None
    dtype: str

    def peak(self) -> float:
        """Floating-point operations a second of a large matrix product in `dtype`, in practice.

        With OpenVINO, what torch has for the trunk.
        """
        return self.quick.peak() if self.quick else self.trunk.peak()


def opened(
    loaded: tuple[Shape, Mapping[str, torch.Tensor]],
    folder: Path,
    manifest: Manifest,
    device: str,
    dtype: str | None,
    engine: str,
    beside: Reading | None,
) -> Reading:
    """See `Classifier`. Eight bits where this processor or the artifact has no place for them are
    bf16.

    Args:
        loaded: the trunk (`shape.read_trunk`).

    Raises:
        ArtifactError: the artifact is absent, altered, or made on another trunk.
        EngineMissingError: the engine's library is not installed, or there is no such device.
    """
    import torch

    if device.startswith("cuda") and not torch.cuda.is_available():
        raise EngineMissingError("there is no CUDA device here: use --device cpu")

    asked = dtype or best_dtype(device)
    of = manifest.trunk, device, UNDER_INT8 if asked == INT8 else asked
    shape, weights = loaded
    own = beside.trunk if beside and beside.of == of else Forward(shape, weights, *of[1:])
    try:
        read = tuned(folder, manifest, shape, weights)
    except (LookupError, RuntimeError, ValueError) as error:  # other names, or other shapes
        raise ArtifactError(f"{folder} does not fit {manifest.trunk}: {error}") from None
    if engine == "openvino":
        return Reading(of, own, OpenVino(read, torch.get_num_threads()), None, INT8)
    reader = own
    if read.weights is not weights or read.prefix is not None:
        reader = Forward(read.shape, read.weights, *of[1:], embeddings_of=own, prefix=read.prefix)
    quick = _in_bytes(read, reader) if asked == INT8 and device == "cpu" else None
    return Reading(of, own, reader, quick, of[2] if quick is None else INT8)


def sentiment_head(folder: Path, width: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Weight fp32 [labels, width] and bias fp32 [labels].

    Raises:
        ArtifactError: there is none, or of another shape.
    """
    heads = registry.read_tensors(folder / registry.HEADS)
    weight, bias = heads.get("sentiment.weight"), heads.get("sentiment.bias")
    shapes = (None if each is None else tuple(each.shape) for each in (weight, bias))
    if weight is None or bias is None or [*shapes] != [(len(LABELS), width), (len(LABELS),)]:
        raise ArtifactError(f"{folder} has no sentiment head of width {width}: train it again")
    return weight, bias


def _in_bytes(read: Tuned, reader: Forward) -> Tiles | None:
    from models import tiles

    if read.prefix is not None:
        return None
    return of_tiles(read.shape, read.weights, reader.words, tiles.byte_unit())
