from __future__ import annotations

import shutil
from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch
from safetensors import SafetensorError

from models import registry
from models.card import CARD
from models.classifier import Classifier
from models.data import LABELS
from models.errors import ArtifactError
from models.registry import Adapter, Manifest


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    return Path(shutil.copytree(registry.packaged_artifact(), tmp_path / "artifact"))


def test_an_artifact_comes_back_as_it_was_written(tmp_path: Path) -> None:
    heads = {"sentiment.weight": torch.randn(3, 8), "sentiment.bias": torch.randn(3)}
    adapter = {"layer.lora_A.weight": torch.randn(2, 8), "layer.lora_B.weight": torch.randn(8, 2)}
    digests = registry.write_tensors(tmp_path, adapter, heads)
    manifest = Manifest(
        format=registry.FORMAT,
        trunk="trunk",
        max_tokens=80,
        heads={"sentiment": LABELS},
        adapter=Adapter(2, 4, ("query",)),
        method="lora",
        seed=0,
        epochs=1,
        trained_rows={"own.csv": 10},
        scores={},
        sha256=digests,
    )
    registry.write_manifest(tmp_path, manifest)

    assert registry.read_manifest(tmp_path) == manifest
    for name, tensors in ((registry.HEADS, heads), (registry.ADAPTER, adapter)):
        for key, tensor in registry.read_tensors(tmp_path / name).items():
            # Halves carry 11 bits; int8 with a scale a row is off by half a step at most.
            step = np.abs(tensors[key]).max() / (127 if name == registry.ADAPTER else 1024)
            np.testing.assert_allclose(tensor, tensors[key], atol=0.6 * float(step))


def test_without_room_the_artifact_that_stood_there_stays(
    copied: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[Path] = []

    def full(tensors: object, path: Path, metadata: object) -> None:
        written.append(path)
        path.write_bytes(b"half")
        if len(written) == 2:
            raise SafetensorError("No space left on device")

    monkeypatch.setattr("safetensors.torch.save_file", full)
    with pytest.raises(ArtifactError, match="No space left"):
        registry.write_tensors(copied, {"a": torch.ones(2, 2)}, {"b": torch.ones(2)})
    assert len(written) == 2
    assert registry.read_manifest(copied).version == registry.version_of(
        registry.packaged_artifact()
    )


@pytest.mark.parametrize("name", [registry.HEADS, registry.ADAPTER])
def test_one_changed_bit_is_refused(copied: Path, name: str) -> None:
    changed = bytearray((copied / name).read_bytes())
    changed[-1] ^= 1
    (copied / name).write_bytes(changed)
    with pytest.raises(ArtifactError, match="altered"):
        registry.read_manifest(copied)


def test_a_half_copied_artifact_is_refused(copied: Path) -> None:
    (copied / registry.ADAPTER).unlink()
    with pytest.raises(ArtifactError, match="missing"):
        registry.read_manifest(copied)
    (copied / registry.MANIFEST).unlink()
    with pytest.raises(ArtifactError, match="springtide train sentiment"):
        registry.read_manifest(copied)


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b'{"format": "one"}'])
def test_a_manifest_that_cannot_be_read_is_refused(copied: Path, text: bytes) -> None:
    (copied / registry.MANIFEST).write_bytes(text)
    with pytest.raises(ArtifactError, match=r"manifest\.json"):
        registry.read_manifest(copied)


def test_another_trunk_or_other_labels_are_refused(copied: Path, tmp_path: Path) -> None:
    manifest = registry.read_manifest(copied)
    other = tmp_path / "another-trunk"
    with pytest.raises(ArtifactError, match="train it again"):
        Classifier(other, copied)
    swapped = msgspec.structs.replace(manifest, heads={"sentiment": LABELS[::-1]})
    registry.write_manifest(copied, swapped)
    with pytest.raises(ArtifactError, match="labels"):
        Classifier(other, copied)


def test_the_packaged_artifact_is_small_and_has_a_card_that_names_its_sets() -> None:
    folder = registry.packaged_artifact()
    manifest = registry.read_manifest(folder)
    card = (folder / CARD).read_text(encoding="utf-8")

    assert sum(file.stat().st_size for file in folder.iterdir()) < 3_000_000
    assert manifest.version in card
    assert "for research only" in card
    assert "springtide train sentiment" in card
    assert len(manifest.trained_rows) == 7
    for name in manifest.trained_rows:
        assert f"| {name} |" in card
        assert f"{manifest.scores[name].accuracy:.3f}" in card
