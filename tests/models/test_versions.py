from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save

from models import registry, versions
from models.errors import ArtifactError
from models.trial import try_out
from models.trunk import default_cache_dir

COMMAND = [sys.executable, "-m", "streams.cli", "models"]
Remake = Callable[[str], Path]


@pytest.fixture
def two(tmp_path: Path, remade: Remake) -> tuple[Path, str, str]:
    """A folder of versions where the second serves, and both versions."""
    folder = tmp_path / "versions"
    first = versions.promote(folder, str(registry.packaged_artifact()))
    second = versions.promote(folder, str(remade("second")))
    return folder, first, second


def test_what_is_promoted_serves_and_what_served_can_serve_again(
    two: tuple[Path, str, str],
) -> None:
    folder, first, second = two
    assert first != second
    assert versions.resolved(folder) == folder / second
    assert versions.roll_back(folder) == first
    assert versions.resolved(folder) == folder / first
    with pytest.raises(ArtifactError, match="nothing to go back to"):
        versions.roll_back(folder)
    assert versions.promote(folder, second[:-3]) == second, "the beginning of a version will do"
    assert [(each.version, each.role) for each in versions.listed(folder)] == [
        (second, "current"),
        (first, "previous"),
    ]


def test_promoting_what_serves_changes_nothing(two: tuple[Path, str, str]) -> None:
    folder, first, second = two
    before = versions.read_pointer(folder)
    versions.promote(folder, second)
    assert versions.read_pointer(folder) == before
    assert before.previous == (first,)


def test_a_folder_that_is_no_folder_of_versions_is_the_artifact_itself(tmp_path: Path) -> None:
    assert versions.resolved(None) == registry.packaged_artifact()
    assert versions.resolved(tmp_path) == tmp_path
    assert versions.shadow_of(tmp_path) is None


def test_an_altered_version_is_neither_promoted_nor_gone_back_to(
    two: tuple[Path, str, str],
) -> None:
    folder, first, second = two
    heads = folder / first / registry.HEADS
    heads.write_bytes(heads.read_bytes()[:-1] + b"x")
    for change in (
        lambda: versions.roll_back(folder),
        lambda: versions.promote(folder, first),
        lambda: versions.promote(folder, str(registry.packaged_artifact())),
    ):
        with pytest.raises(ArtifactError, match="altered"):
            change()
    assert versions.read_pointer(folder).current == second


@pytest.mark.parametrize("name", ["nothing", "sentiment-", ""])
def test_a_name_that_means_no_one_version_is_refused(two: tuple[Path, str, str], name: str) -> None:
    with pytest.raises(ArtifactError, match="no one version"):
        versions.promote(two[0], name)


def test_a_shadow_is_another_version_than_the_current_one(two: tuple[Path, str, str]) -> None:
    folder, first, second = two
    with pytest.raises(ArtifactError, match="serves already"):
        versions.run_in_shadow(folder, second)
    assert versions.run_in_shadow(folder, first) == first
    assert versions.shadow_of(folder) == folder / first
    versions.promote(folder, first)
    assert versions.shadow_of(folder) is None, "what serves is not its own shadow"
    assert versions.run_in_shadow(folder, None) == ""
    versions.run_in_shadow(folder, second)
    assert versions.roll_back(folder) == second
    assert versions.shadow_of(folder) is None, "nor what serves again"


def test_two_who_promote_at_once_take_turns(tmp_path: Path, remade: Remake) -> None:
    folder = tmp_path / "versions"
    artifacts = [registry.packaged_artifact(), *(remade("x" * n) for n in range(1, 4))]
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda each: versions.promote(folder, str(each)), artifacts * 2))
    pointer = versions.read_pointer(folder)
    assert sorted([*pointer.previous, pointer.current]) == sorted(set(made))
    assert len(set(made)) == 4


def test_without_room_nothing_changes(
    two: tuple[Path, str, str], remade: Remake, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, _, _ = two
    before, here, third = versions.read_pointer(folder), sorted(folder.iterdir()), remade("third")

    def full(source: Path, place: Path, **_: object) -> None:
        place.mkdir()
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("models.versions.shutil.copytree", full)
    with pytest.raises(ArtifactError, match="No space left"):
        versions.promote(folder, str(third))
    assert (versions.read_pointer(folder), sorted(folder.iterdir())) == (before, here)


def test_a_manifest_names_no_place_outside_and_no_other_kind(
    two: tuple[Path, str, str], remade: Remake, tmp_path: Path
) -> None:
    artifact = remade("third")
    manifest = json.loads((artifact / registry.MANIFEST).read_bytes())

    def refused(**changed: object) -> str:
        (artifact / registry.MANIFEST).write_text(json.dumps(manifest | changed))
        with pytest.raises(ArtifactError) as error:
            versions.promote(two[0], str(artifact))
        return str(error.value)

    assert "no kind of artifact" in refused(kind="../../elsewhere")
    assert "versions of the kind sentiment" in refused(kind="text-ranker")
    (tmp_path / "secret").write_text("")
    assert "outside" in refused(sha256={"../secret": registry.sha256(tmp_path / "secret")})
    assert not list(tmp_path.glob("elsewhere*"))


def rewritten(artifact: Path, file: str, content: bytes) -> Path:
    """The artifact with another file, and a manifest that says so."""
    (artifact / file).write_bytes(content)
    manifest = json.loads((artifact / registry.MANIFEST).read_bytes())
    manifest["sha256"][file] = registry.sha256(artifact / file)
    (artifact / registry.MANIFEST).write_text(json.dumps(manifest))
    return artifact


def test_one_broken_version_hides_no_other(two: tuple[Path, str, str]) -> None:
    folder, first, second = two
    (folder / second / registry.HEADS).write_bytes(b"")
    gone = versions.promote(folder, first)
    shutil.rmtree(folder / first)
    found = {each.version: each for each in versions.listed(folder)}
    assert [each.role for each in found.values()] == ["current", "previous"]
    assert "holds no manifest" in found[gone].problem
    assert "altered" in found[second].problem
    command = [*COMMAND, "list", "--registry", str(folder)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 0
    assert ended.stdout.count("cannot be used") == 2


@pytest.mark.parametrize(
    ("broken", "file"),
    [
        (lambda whole, _: whole[:-40], registry.HEADS),
        (lambda whole, _: whole[: len(whole) // 2], registry.ADAPTER),
        (lambda whole, _: whole[:9], registry.NGRAMS),
        (lambda whole, _: whole[: len(whole) // 3], registry.TOPICS),
        (lambda _, tensors: {"sentiment.weight": tensors["sentiment.weight"]}, registry.HEADS),
        (lambda _, tensors: tensors | {"sentiment.bias": torch.zeros(2)}, registry.HEADS),
        (lambda _, tensors: {n: t * torch.nan for n, t in tensors.items()}, registry.HEADS),
        (lambda _, tensors: {n[1:]: t for n, t in tensors.items()}, registry.ADAPTER),
    ],
    ids=["torn", "torn adapter", "torn experts", "torn topics", "no bias", "two", "nan", "names"],
)
def test_what_cannot_be_loaded_is_refused_before_the_pointer_moves(
    two: tuple[Path, str, str], remade: Remake, broken: Callable[[bytes, Any], Any], file: str
) -> None:
    """Its manifest is right: what was written cannot be used."""
    folder, before, artifact = two[0], versions.read_pointer(two[0]), remade("broken")
    made = broken((artifact / file).read_bytes(), load_file(artifact / file))
    rewritten(artifact, file, made if isinstance(made, bytes) else save(made))
    here = sorted(folder.iterdir())
    with pytest.raises(ArtifactError) as error:
        versions.promote(folder, str(artifact), lambda path: try_out(path, default_cache_dir()))
    assert str(artifact) in str(error.value) and "\n" not in str(error.value)
    assert (versions.read_pointer(folder), sorted(folder.iterdir())) == (before, here)


def test_the_commands_do_the_same(tmp_path: Path, remade: Remake) -> None:
    folder = str(tmp_path / "versions")

    def ask(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [*COMMAND, *arguments, "--registry", folder]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    empty = ask("list")
    assert (empty.returncode, empty.stderr.count("\n")) == (2, 1)
    first = ask("promote", str(registry.packaged_artifact())).stdout.strip()
    second = ask("promote", str(remade("second"))).stdout.strip()
    refused = ask("promote", str(rewritten(remade("third"), registry.HEADS, b"torn")))
    assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)
    assert ask("rollback").stdout.strip() == first
    assert ask("shadow", second).stdout.strip() == second
    found = json.loads(ask("list", "--json").stdout)["versions"]
    assert [(each["version"], each["role"]) for each in found] == [
        (first, "current"),
        (second, "shadow"),
    ]
    assert found[0]["trained_rows"] > 0
