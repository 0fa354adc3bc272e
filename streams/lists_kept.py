"""What an evaluation keeps while it runs, so that an interrupted one goes on.

One .npz file: the ranks, costs and setting of every method that has finished. It belongs to one
fingerprint: of the stream as it is after all filters, of the learner's and the peers' sources and
of the libraries that compute. A method that was interrupted starts again.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from infra.settings import UserError

if TYPE_CHECKING:
    from online.content_items import ItemContent
    from online.prequential import Evaluated
    from online.prequential_stream import Stream

LIBRARIES = ("implicit", "numba", "numpy", "scipy")


def fingerprint(stream: Stream, how: str = "", *told: ItemContent | None) -> str:
    """A digest of everything that the figures depend on.

    Args:
        how: what else the learner does with the items.
        told: the items, in every form that the learner is told them in.
    """
    import online

    digest = hashlib.blake2b(digest_size=16)
    for array in (stream.users, stream.items, stream.times):
        digest.update(array.tobytes())
    for ids in (stream.user_ids, stream.item_ids):
        digest.update("\0".join(ids).encode("utf-8", "surrogatepass"))
    for items in filter(None, told):
        digest.update(f"{how} ".encode())
        digest.update("\0".join(items.ids).encode("utf-8", "surrogatepass"))
        for terms in items.terms:
            digest.update(terms.tobytes() + b"\0")
        if items.embeddings is not None:
            digest.update(items.embeddings.tobytes())
    for source in sorted(Path(online.__file__).parent.rglob("*.py")):
        digest.update(source.read_bytes())
    for library in LIBRARIES:
        try:
            digest.update(importlib.metadata.version(library).encode())
        except importlib.metadata.PackageNotFoundError:
            digest.update(b"none")
    return digest.hexdigest()


class Kept:
    """Finished methods in a file.

    Args:
        file: made at the first `add`; its folder too.
        mark: the fingerprint.

    Raises:
        UserError: the file cannot be read or written, or belongs to another fingerprint.
    """

    def __init__(self, file: Path, mark: str) -> None:
        self.file = file
        self._mark = mark
        self.finished: dict[str, Evaluated] = {}
        if file.exists():
            self.finished = _read(file, mark)
        try:  # now, not after the first method's minutes
            file.parent.mkdir(parents=True, exist_ok=True)
            self._partial.touch()
            self._partial.unlink()
        except OSError as error:
            raise self._unwritable(error) from None

    @property
    def _partial(self) -> Path:
        return self.file.with_name(self.file.name + ".partial")

    def _unwritable(self, error: OSError) -> UserError:
        return UserError(
            f"{self.file}: cannot be written ({error.strerror}): name another file with --resume, "
            "or another folder with SPRINGTIDE_DATA_DIR"
        )

    def add(self, name: str, found: Evaluated) -> None:
        """Keep a finished method; the file is whole at any moment.

        Raises:
            UserError: the file cannot be written.
        """
        import numpy as np

        self.finished[name] = found
        arrays = {"fingerprint": np.array(self._mark)}
        for each, f in self.finished.items():
            arrays[f"{each}.ranks"] = np.stack(list(f.settings.values()))
            arrays[f"{each}.settings"] = np.array(list(f.settings))
            arrays[f"{each}.setting"] = np.array(f.setting)
            arrays[f"{each}.costs"] = np.array([f.update_us, f.list_us])
        try:
            with self._partial.open("wb") as out:
                np.savez_compressed(out, **arrays)  # type: ignore[arg-type]
            self._partial.replace(self.file)
        except OSError as error:
            self._partial.unlink(missing_ok=True)
            raise self._unwritable(error) from None

    def remove(self) -> None:
        """The run is over."""
        self.file.unlink(missing_ok=True)


def _read(file: Path, mark: str) -> dict[str, Evaluated]:
    import zipfile

    import numpy as np

    try:
        with np.load(file, allow_pickle=False) as arrays:
            whose = str(arrays["fingerprint"])
            names = [n.removesuffix(".ranks") for n in arrays.files if n.endswith(".ranks")]
            found = {name: _method(arrays, name) for name in names}
    except (OSError, KeyError, ValueError, zipfile.BadZipFile):
        raise UserError(f"{file}: not a file that --resume has written; name another") from None
    if whose != mark:
        raise UserError(
            f"{file}: begun with other data, filters or code, so it cannot go on; "
            "name another file, or delete it"
        )
    return found


def _method(arrays: Any, name: str) -> Evaluated:
    from online.prequential import Evaluated

    names = arrays[f"{name}.settings"].tolist()
    settings = dict(zip(names, arrays[f"{name}.ranks"], strict=True))
    setting = str(arrays[f"{name}.setting"])
    update_us, list_us = arrays[f"{name}.costs"].tolist()
    return Evaluated(settings[setting], update_us, list_us, setting, settings)
