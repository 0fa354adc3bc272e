"""Versions: a folder of artifacts under their versions, and a pointer to the one that serves.

`pointer.json` names the version that serves, those that served before, and one that runs in its
shadow. It is replaced in one step, after the artifact it names is whole and on the disk, so that
whoever reads it at any moment finds a complete artifact. Who changes it holds `.lock`: two at once
take turns. All versions of a folder are of one kind. Wherever an artifact's folder is asked for
(SPRINGTIDE_MODEL, --model), such a folder stands for its current version.
"""

from __future__ import annotations

import fcntl
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
from msgspec import Struct

from models import registry
from models.curves import LOGS
from models.durable import settle, write_document
from models.errors import ArtifactError

POINTER, LOCK = "pointer.json", ".lock"

Check = Callable[[Path], None]


class Pointer(Struct, frozen=True):
    """Versions by their roles; `previous`: the latest last."""

    current: str
    previous: tuple[str, ...] = ()
    shadow: str = ""


class Version(Struct, frozen=True):
    """One artifact in the folder, of any kind; `role`: current, shadow, previous or empty;
    `problem`: why it cannot be used, empty where it can."""

    version: str
    role: str
    folder: Path
    problem: str = ""


def resolved(folder: Path | None) -> Path:
    """The artifact's folder: None is the packaged one, a folder of versions its current one.

    Raises:
        ArtifactError: the pointer cannot be read.
    """
    if folder is None:
        return registry.packaged_artifact()
    return folder / read_pointer(folder).current if (folder / POINTER).exists() else folder


def candidates(folder: Path | None) -> list[Path]:
    """What may serve: the artifact that `resolved` finds, then those before it, the latest first.

    Raises:
        ArtifactError: as `resolved`.
    """
    if folder is None or not (folder / POINTER).exists():
        return [resolved(folder)]
    pointer = read_pointer(folder)
    return [folder / name for name in (pointer.current, *reversed(pointer.previous))]


def served_from(folder: Path | None, version: str) -> Path:
    """The artifact of a version that somebody serves; the current one where it is not here.

    Raises:
        ArtifactError: as `resolved`.
    """
    current = resolved(folder)
    named = current.parent / version
    here = folder == current.parent == named.parent  # it is a folder of versions, and a name in it
    return named if here and (named / registry.MANIFEST).exists() else current


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
    """Every version, the current one first, those that are missing or altered among them.

    Raises:
        ArtifactError: nothing was promoted yet.
    """
    pointer = read_pointer(folder)
    roles = dict.fromkeys(pointer.previous, "previous")
    roles |= {pointer.shadow: "shadow", pointer.current: "current"}
    names = set(filter(None, roles)) | set(_here(folder))
    order = ("current", "shadow", "previous", "")
    return sorted(
        (_looked_at(folder / name, roles.get(name, "")) for name in names),
        key=lambda each: (order.index(each.role), each.version),
    )


def _here(folder: Path) -> list[str]:
    return sorted(path.parent.name for path in folder.glob(f"[!.]*/{registry.MANIFEST}"))


def _looked_at(folder: Path, role: str) -> Version:
    try:
        return Version(registry.version_of(folder), role, folder)
    except ArtifactError as error:
        return Version(folder.name, role, folder, str(error))


def promote(folder: Path, name: str, check: Check | None = None) -> str:
    """Let a version serve from now on; returns it.

    Args:
        name: a version here, the beginning of one, or an artifact's folder, which is taken in.
        check: raises what speaks against an artifact (`trial.try_out`), before anything changes.

    Raises:
        ArtifactError: there is no such version, the artifact is absent, altered or of another kind
            than those here, or the folder cannot be written.
    """
    with _changing(folder) as pointer:
        version = _taken_in(folder, name, pointer, check)
        if version != pointer.current:
            before = [each for each in (*pointer.previous, pointer.current) if each]
            before = [each for each in before if each != version]
            write_document(
                folder / POINTER, Pointer(version, tuple(before), _beside(version, pointer))
            )
    return version


def roll_back(folder: Path) -> str:
    """Let the version before the current one serve again; returns it.

    Raises:
        ArtifactError: there was none, it is altered, or the folder cannot be written.
    """
    read_pointer(folder)
    with _changing(folder) as pointer:
        if not pointer.previous:
            raise ArtifactError(f"{folder} has had one version only: nothing to go back to")
        *earlier, version = pointer.previous
        registry.version_of(folder / version)
        write_document(
            folder / POINTER, Pointer(version, tuple(earlier), _beside(version, pointer))
        )
    return version


def run_in_shadow(folder: Path, name: str | None, check: Check | None = None) -> str:
    """Score with this version beside the current one; None ends it. Returns the version.

    Raises:
        ArtifactError: as `promote`; or nothing serves yet.
    """
    read_pointer(folder)
    with _changing(folder) as pointer:
        version = _taken_in(folder, name, pointer, check) if name else ""
        if version == pointer.current:
            raise ArtifactError(f"{version} serves already")
        write_document(folder / POINTER, msgspec.structs.replace(pointer, shadow=version))
    return version


def _beside(current: str, pointer: Pointer) -> str:
    """The shadow of the version that is current from now on: nobody is his own."""
    return "" if pointer.shadow == current else pointer.shadow


@contextmanager
def _changing(folder: Path) -> Iterator[Pointer]:
    """What the folder says, until it says something else: whoever wants to change it too waits.

    Raises:
        ArtifactError: it cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / LOCK).open("wb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # its end, however it comes, lets the next one in
            yield read_pointer(folder) if (folder / POINTER).exists() else Pointer("")
    except OSError as error:
        raise ArtifactError(f"{folder} cannot be written: {error}") from None


def _taken_in(folder: Path, name: str, pointer: Pointer, check: Check | None) -> str:
    """The version that `name` means; an artifact's folder is copied here first, in one step."""
    artifact = Path(name)
    if not (artifact / registry.MANIFEST).exists():
        known = _here(folder)
        fitting = [each for each in known if each == name] or [
            each for each in known if each.startswith(name)
        ]
        if len(fitting) != 1:
            raise ArtifactError(f"{name!r} is no artifact and no one version of {folder}: {known}")
        artifact = folder / fitting[0]
    version = registry.version_of(artifact)
    kind = pointer.current.rpartition("-")[0]
    if kind not in ("", version.rpartition("-")[0]):
        raise ArtifactError(f"{folder} holds versions of the kind {kind}, {version} is none")
    if check is not None:
        check(artifact)
    if not (folder / version).exists():
        with tempfile.TemporaryDirectory(dir=folder, prefix=".taking-in-") as scratch:
            curves = shutil.ignore_patterns(LOGS)
            copied = Path(shutil.copytree(artifact, Path(scratch) / version, ignore=curves))
            registry.version_of(copied)
            for path in (*copied.rglob("*"), copied):
                settle(path)
            copied.rename(folder / version)
    else:  # since it was taken in it may have been altered
        registry.version_of(folder / version)
    return version
