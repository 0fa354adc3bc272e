"""A trained ranker on disk: `ranker.safetensors`, its manifest in the header, and the ids."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec
import torch
from torch import nn

from models.errors import ModelError
from models.rankers.evaluation import Quality
from models.rankers.networks import make
from models.rankers.training import Plan

FILE = "ranker.safetensors"
HEADER = "springtide"
FORMAT = 1


class Manifest(msgspec.Struct, frozen=True):
    """What was trained, on what, and how good it is on the test items."""

    plan: Plan
    interactions: int
    users: int
    items: int
    best_epoch: int
    epochs: int
    train_seconds: float
    validation: Quality
    test: Quality
    popularity: Quality
    format: int = FORMAT


class Ranker(NamedTuple):
    """A ranker, its manifest, and the item ids by number."""

    network: nn.Module
    manifest: Manifest
    item_ids: list[str]


def save(folder: Path, network: nn.Module, manifest: Manifest, item_ids: Sequence[str]) -> Path:
    """Write the weights; item ids by number beside them, user ids nowhere. Returns the file."""
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    header = {
        HEADER: msgspec.json.encode(manifest).decode(),
        "items": msgspec.json.encode(list(item_ids)).decode(),
    }
    save_file(dict(network.state_dict()), folder / FILE, metadata=header)
    return folder / FILE


def load(folder: Path) -> Ranker:
    """Read what `save` wrote.

    Raises:
        ModelError: there is no such file, or not of this format.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(folder / FILE, "pt") as file:
            header = file.metadata() or {}
            weights: dict[str, torch.Tensor] = {k: file.get_tensor(k) for k in file.keys()}  # noqa: SIM118
        manifest = msgspec.json.decode(header[HEADER], type=Manifest)
        item_ids = msgspec.json.decode(header["items"], type=list[str])
    except (OSError, SafetensorError, KeyError, msgspec.MsgspecError) as error:
        raise ModelError(f"{folder}: no ranker of `springtide train baseline` ({error})") from None
    if manifest.format != FORMAT:
        raise ModelError(f"{folder}: format {manifest.format}, this version reads {FORMAT}")
    network = make(manifest.plan.model, manifest.users, manifest.items, manifest.plan.width)
    network.load_state_dict(weights)
    return Ranker(network, manifest, item_ids)
