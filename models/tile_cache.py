"""Machine code kept between processes: LLVM takes a second to write what is read in a moment.

A file a module under the cache folder, named for what it was made from and for the processor, with
its hash before it: half a file must not be run. Where nothing can be written, nothing is kept.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
from pathlib import Path

import llvmlite
from llvmlite import binding

from models.trunk import default_cache_dir


class Kept:
    """The object code of one module; `found`: None where it must be made."""

    def __init__(self, assembly: str) -> None:
        made_from = (
            *(llvmlite.__version__, str(binding.llvm_version_info), binding.get_host_cpu_name()),
            *(binding.get_host_cpu_features().flatten(), assembly),
        )
        name = hashlib.sha256("\n".join(made_from).encode()).hexdigest()[:24]
        self._path = _folder() / f"{name}.o"
        self.found = self._read()

    def _read(self) -> bytes | None:
        try:
            held = self._path.read_bytes()
        except OSError:
            return None
        digest, code = held[:32], held[32:]
        return code if hashlib.sha256(code).digest() == digest else None

    def keep(self, code: bytes) -> None:
        """Write it, whole or not at all, whatever other processes do."""
        with contextlib.suppress(OSError):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            descriptor, beside = tempfile.mkstemp(dir=self._path.parent)
            with os.fdopen(descriptor, "wb") as file:
                file.write(hashlib.sha256(code).digest() + code)
            Path(beside).replace(self._path)


def _folder() -> Path:
    try:
        return default_cache_dir() / "code"
    except RuntimeError:  # this user has no home
        return Path(os.devnull)
