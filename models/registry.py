"""Artifacts: a folder with `manifest.json`, `heads.safetensors`, for LoRA
`adapter.safetensors`, `ngrams.safetensors` where the n-gram expert helps, and
`topics.safetensors` where topic heads stand beside the sentiment head; `layers.safetensors` after
full fine-tuning, which leaves no adapter.

The adapter is kept in eight bits, a scale a row: half the size of fp16, and it changes less than
bf16 does. The manifest says what the model was trained on and how its input must be prepared, and
carries the SHA-256 of every file, so that an altered or half-copied artifact is refused at load.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal, Protocol, TypeVar

import msgspec
import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from models.base_model import BaseModel
from models.digests import of_files, sha256
from models.durable import write_document
from models.errors import ArtifactError

if TYPE_CHECKING:
    import torch

FORMAT = 1
SENTIMENT = "sentiment"
MANIFEST = "manifest.json"
ADAPTER = "adapter.safetensors"
HEADS = "heads.safetensors"
NGRAMS = "ngrams.safetensors"
TOPICS = "topics.safetensors"
LAYERS = "layers.safetensors"
SCALE = ".scale"  # ends the name of an eight-bit tensor's scales
LARGEST = 127
USUAL = 100  # grams of a text
KIND = re.compile(r"[a-z-]+")  # it begins a version, which names a folder


class Adapter(Struct, frozen=True):
    """LoRA: rank r, alpha, and the layers it stands beside."""

    rank: int
    alpha: int
    targets: tuple[str, ...]


class Stack(Struct, frozen=True):
    """How the n-gram expert joins the trunk: logits = temperature · (trunk + w · n-grams).

    w = weight · (100 / grams)^length, grams: of the text. An expert's logits are a sum over grams
    that overlap: twice the grams are less than twice the evidence.
    """

    weight: float
    temperature: float
    length: float = 0.0

    def trust(self, grams: NDArray[np.int64]) -> NDArray[np.float32]:
        """w of texts with so many grams: float32[texts, 1]."""
        factor = (USUAL / np.maximum(grams, 1)) ** self.length
        return (self.weight * factor).astype(np.float32)[:, None]


class Scores(Struct, frozen=True):
    """One set's test rows. Two-class sets are scored on {negative, positive} alone."""

    rows: int
    accuracy: float
    macro_f1: float


class Topic(Struct, frozen=True):
    """One topic head: its labels, what it was trained on, and its scores on the set's test rows.

    `stack`: how its own n-gram expert joins it, `ngrams`: that expert alone.
    """

    labels: tuple[str, ...]
    trained_rows: int
    scores: Scores
    stack: Stack | None = None
    ngrams: Scores | None = None


class Manifest(Struct, frozen=True):
    """What stands in `manifest.json`. `before`: a linear head on the same rows, trunk unchanged;
    `ngrams`: the n-gram expert alone; `topics`: topic heads by the name of their label set;
    `topic_rows`: of topic sets so many rows the adapter was fitted to beside `trained_rows`;
    `layers`: the trunk's that stay, empty: all; `teacher`: its version; `data`: fingerprints;
    `base_model`: a trunk that is not the packaged one; `text_prefix` goes before every text, and
    `pooling` makes one vector of its tokens'."""

    format: int
    trunk: str
    max_tokens: int
    heads: dict[str, tuple[str, ...]]
    adapter: Adapter | None
    method: str
    seed: int
    epochs: int
    trained_rows: dict[str, int]
    scores: dict[str, Scores]
    sha256: dict[str, str]
    before: dict[str, Scores] = {}
    ngrams: dict[str, Scores] = {}
    majority: dict[str, Scores] = {}
    train_seconds: float = 0.0
    stack: Stack | None = None
    topics: dict[str, Topic] = {}
    topic_rows: dict[str, int] = {}
    layers: tuple[int, ...] = ()
    teacher: str = ""
    data: dict[str, str] = {}
    base_model: BaseModel | None = None
    text_prefix: str = ""
    pooling: Literal["mean"] = "mean"

    @property
    def version(self) -> str:
        """Names the model in scored comments: `sentiment-` and 12 digits of the files' hash."""
        return f"{SENTIMENT}-{of_files(self.sha256)}"


def packaged_artifact() -> Path:
    """The artifact that comes with the package."""
    return Path(__file__).parent / "artifact"


M = TypeVar("M", bound="Checked")


class Checked(Protocol):
    """What every manifest says."""

    @property
    def format(self) -> int:
        """Of the artifact."""

    @property
    def sha256(self) -> dict[str, str]:
        """File name → digest."""


def read_manifest(folder: Path) -> Manifest:
    """Read and check an artifact's manifest and the hashes of its files.

    Raises:
        ArtifactError: absent, of another format, or a file is missing or altered.
    """
    return read_checked(folder, Manifest, SENTIMENT)


class Files(Struct, frozen=True):
    """What the manifests of all kinds of artifacts say alike; `kind`: what it was trained to be."""

    format: int
    sha256: dict[str, str]
    kind: str = SENTIMENT


def version_of(folder: Path) -> str:
    """The version of an artifact of any kind.

    Raises:
        ArtifactError: as `read_manifest`, or its kind is no word.
    """
    manifest = read_checked(folder, Files, SENTIMENT)
    if not KIND.fullmatch(manifest.kind):
        raise ArtifactError(f"{folder / MANIFEST}: {manifest.kind!r} is no kind of artifact")
    return f"{manifest.kind}-{of_files(manifest.sha256)}"


def kind_of(folder: Path) -> str:
    """What an artifact was trained to be; raises as `version_of`."""
    return version_of(folder).rpartition("-")[0]


def read_checked(folder: Path, kind: type[M], trained: str) -> M:
    """As `read_manifest`, of an artifact that `springtide train TRAINED` makes."""
    path = folder / MANIFEST
    try:
        manifest = msgspec.json.decode(path.read_bytes(), type=kind)
    except OSError:
        raise ArtifactError(
            f"{folder} holds no {MANIFEST}: make an artifact with `springtide train {trained}`"
        ) from None
    except msgspec.DecodeError as error:
        raise ArtifactError(f"{path} cannot be read: {error}") from None
    if manifest.format != FORMAT:
        raise ArtifactError(f"{path} has format {manifest.format}, this version reads {FORMAT}")
    for name, digest in manifest.sha256.items():
        file = folder / name
        if Path(name).name != name:  # it would be read wherever it is
            raise ArtifactError(f"{path} names a file outside of {folder}: {name}")
        if not file.is_file() or sha256(file) != digest:
            raise ArtifactError(f"{file} is missing or altered: copy or train the artifact again")
    return manifest


def read_tensors(path: Path) -> dict[str, torch.Tensor]:
    """Tensors of a safetensors file, in fp32 on the CPU; what is in eight bits is scaled.

    Raises:
        ArtifactError: it is no such file.
    """
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        found = {name: tensor.float() for name, tensor in load_file(path).items()}
    except (OSError, SafetensorError) as error:
        raise ArtifactError(f"{path} cannot be read: {error}") from None
    one = torch.ones(())
    return {
        name: tensor * found.get(name + SCALE, one)
        for name, tensor in found.items()
        if not name.endswith(SCALE)
    }


def write_tensors(
    folder: Path,
    adapter: Mapping[str, torch.Tensor],
    heads: Mapping[str, torch.Tensor],
    layers: Mapping[str, torch.Tensor] = MappingProxyType({}),
) -> dict[str, str]:
    """Write the adapter in eight bits, heads and layers in fp16; returns file name -> SHA-256.

    Adapter and layers are written where there are any. What stood here goes once all is written.

    Raises:
        ArtifactError: there is no room for them, or they may not be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    files = {HEADS: _halves(heads)}
    files |= {ADAPTER: _in_eight_bits(adapter)} if adapter else {}
    files |= {LAYERS: _halves(layers)} if layers else {}
    for name, tensors in files.items():
        save_tensors(folder / f".{name}", tensors)
    for name in files:
        (folder / f".{name}").replace(folder / name)
    for name in {ADAPTER, LAYERS, NGRAMS, TOPICS} - set(files):  # of an earlier artifact here
        (folder / name).unlink(missing_ok=True)
    return {name: sha256(folder / name) for name in files}


def save_tensors(
    path: Path, tensors: Mapping[str, torch.Tensor], metadata: dict[str, str] | None = None
) -> None:
    """A safetensors file that servers, which run as others, can read.

    Raises:
        ArtifactError: there is no room for it, or it may not be written.
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    try:
        save_file(dict(tensors), path, metadata)
        path.chmod(0o644)  # safetensors makes files that only their owner can read
    except (OSError, SafetensorError) as error:
        path.unlink(missing_ok=True)
        raise ArtifactError(f"{path} cannot be written: {error}") from None


def _halves(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: each.detach().cpu().half().contiguous() for name, each in tensors.items()}


def _in_eight_bits(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Matrices as int8 with one scale a row, in fp16, under the name with `SCALE` behind it."""
    import torch

    small: dict[str, torch.Tensor] = {}
    for name, each in tensors.items():
        matrix = each.detach().cpu().float()
        # The smallest normal half: a row of zeros must not be divided by zero.
        largest = matrix.abs().amax(1, keepdim=True)
        scale = (largest / LARGEST).clamp_min(torch.finfo(torch.half).tiny).half()
        small[name] = (matrix / scale.float()).round().clamp(-LARGEST, LARGEST).to(torch.int8)
        small[name + SCALE] = scale
    return small


def write_manifest(folder: Path, manifest: Struct) -> None:
    """Write `manifest.json`, last of all: without it the folder is no artifact."""
    write_document(folder / MANIFEST, manifest)
