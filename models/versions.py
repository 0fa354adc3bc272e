"""Versions: a folder of artifacts under their versions, and a pointer to the one that serves.

`pointer.json` names the version that serves, those that served before, and one that runs in its
shadow. It is replaced in one step, after the artifact it names is whole, so that whoever reads it
at any moment finds a complete artifact. Wherever an artifact's folder is asked for
(SPRINGTIDE_MODEL, --model), such a folder stands for its current version.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

import msgspec
from msgspec import Struct

from models import registry
from models.errors import ArtifactError

POINTER = "pointer.json"


class Pointer(Struct, frozen=True):
    """Versions by their roles; `previous`: the latest last."""

    current: str
    previous: tuple[str, ...] = ()
    shadow: str = ""


class Version(Struct, frozen=True):
    """One artifact in the folder, of any kind; `role`: current, shadow, previous or empty."""

    version: str
    role: str
    folder: Path


def resolved(folder: Path | None) -> Path:
    """The artifact's folder: None is the packaged one, a folder of versions its current one.

    Raises:
        ArtifactError: the pointer cannot be read.
    """
    if folder is None:
        return registry.packaged_artifact()
    return folder / read_pointer(folder).current if (folder / POINTER).exists() else folder


def shadow_of(folder: Path | None) -> Path | None:
    """The artifact that runs in the current one's shadow, if there is one.

    Raises:
        ArtifactError: the pointer cannot be read.
    """
    if folder is None or not (folder / POINTER).exists():
        return None
    name = read_pointer(folder).shadow
    return folder / name if name else None


def read_pointer(folder: Path) -> Pointer:
    """Which version serves.

    Raises:
        ArtifactError: nothing was promoted yet, or the pointer cannot be read.
    """
    try:
        return msgspec.json.decode((folder / POINTER).read_bytes(), type=Pointer)
    except OSError:
        raise ArtifactError(
            f"{folder} holds no versions yet: `springtide models promote ARTIFACT --registry …`"
        ) from None
    except msgspec.DecodeError as error:
        raise ArtifactError(f"{folder / POINTER} cannot be read: {error}") from None


def listed(folder: Path) -> list[Version]:
    """Every version, the current one first, whole ones only.

    Raises:
        ArtifactError: nothing was promoted yet, or a version is altered.
    """
    pointer = read_pointer(folder)
    roles = dict.fromkeys(pointer.previous, "previous")
    roles |= {pointer.shadow: "shadow", pointer.current: "current"}
    found = [
        Version(registry.version_of(path.parent), roles.get(path.parent.name, ""), path.parent)
        for path in folder.glob(f"[!.]*/{registry.MANIFEST}")
    ]
    order = ("current", "shadow", "previous", "")
    return sorted(found, key=lambda each: (order.index(each.role), each.version))


def promote(folder: Path, name: str) -> str:
    """Let a version serve from now on; returns it.

    Args:
        name: a version here, the beginning of one, or an artifact's folder, which is taken in.

    Raises:
        ArtifactError: there is no such version, or the artifact is absent or altered.
    """
    version = _taken_in(folder, name)
    pointer = read_pointer(folder) if (folder / POINTER).exists() else Pointer("")
    if version != pointer.current:
        before = [each for each in (*pointer.previous, pointer.current) if each and each != version]
        _point(folder, Pointer(version, tuple(before), _beside(version, pointer)))
    return version


def roll_back(folder: Path) -> str:
    """Let the version before the current one serve again; returns it.

    Raises:
        ArtifactError: there was none, or it is altered.
    """
    pointer = read_pointer(folder)
    if not pointer.previous:
        raise ArtifactError(f"{folder} has had one version only: nothing to go back to")
    *earlier, version = pointer.previous
    registry.version_of(folder / version)
    _point(folder, Pointer(version, tuple(earlier), _beside(version, pointer)))
    return version


def run_in_shadow(folder: Path, name: str | None) -> str:
    """Score with this version beside the current one; None ends it. Returns the version.

    Raises:
        ArtifactError: as `promote`; or nothing serves yet.
    """
    pointer = read_pointer(folder)
    version = _taken_in(folder, name) if name else ""
    if version == pointer.current:
        raise ArtifactError(f"{version} serves already")
    _point(folder, msgspec.structs.replace(pointer, shadow=version))
    return version


def _beside(current: str, pointer: Pointer) -> str:
    """The shadow of the version that is current from now on: nobody is his own."""
    return "" if pointer.shadow == current else pointer.shadow


def _taken_in(folder: Path, name: str) -> str:
    """The version that `name` means; an artifact's folder is copied here first, in one step."""
    artifact = Path(name)
    if not (artifact / registry.MANIFEST).exists():
        known = sorted(path.parent.name for path in folder.glob(f"[!.]*/{registry.MANIFEST}"))
        fitting = [each for each in known if each == name] or [
            each for each in known if each.startswith(name)
        ]
        if len(fitting) != 1:
            raise ArtifactError(f"{name!r} is no artifact and no one version of {folder}: {known}")
        registry.version_of(folder / fitting[0])
        return fitting[0]
    version = registry.version_of(artifact)
    if not (folder / version).exists():
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder, prefix=".taking-in-") as scratch:
            copied = Path(shutil.copytree(artifact, Path(scratch) / version))
            registry.version_of(copied)
            copied.rename(folder / version)
    else:  # since it was taken in it may have been altered
        registry.version_of(folder / version)
    return version


def _point(folder: Path, pointer: Pointer) -> None:
    scratch = folder / f".{POINTER}.{os.getpid()}"
    with scratch.open("wb") as file:
        file.write(msgspec.json.format(msgspec.json.encode(pointer), indent=1) + b"\n")
        file.flush()
        os.fsync(file.fileno())
    scratch.replace(folder / POINTER)
