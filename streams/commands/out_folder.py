"""Whether a result can be written, asked before the minutes that make it."""

from __future__ import annotations

from pathlib import Path

from infra.settings import UserError


def require_folder(option: str, file: Path | None) -> None:
    """Check that the file's folder is there; None: nothing will be written.

    Raises:
        UserError: it is not.
    """
    if file is not None and not file.absolute().parent.is_dir():
        raise UserError(f"{option} {file}: there is no folder {file.absolute().parent}")
