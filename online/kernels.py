"""Kernels: functions compiled by numba, kept on disk, and compiled anew when any of them changes.

numba looks at a function's own file only. A kernel contains the kernels it calls, so a change in
one module would leave old machine code in the kernels of another; here all go by one stamp.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from numba import njit


def kernel(**options: Any) -> Callable[[Callable[..., Any]], Any]:
    """`numba.njit` with a cache that knows the whole package; options are njit's."""

    def compiled(function: Callable[..., Any]) -> Any:
        dispatcher = njit(cache=True, **options)(function)
        inside = Path(function.__code__.co_filename).parent
        dispatcher._cache._cache_file._source_stamp = package_stamp(inside)
        return dispatcher

    return compiled


@functools.cache
def package_stamp(inside: Path | None = None) -> str:
    """A digest of the package's sources, and of those of the subpackage that a kernel is in."""
    package = Path(__file__).parent
    folders = [package] if inside in {None, package} else [package, inside]
    digest = hashlib.blake2b(digest_size=16)
    for source in (file for folder in folders for file in sorted(folder.glob("*.py"))):
        digest.update(source.read_bytes())
    return digest.hexdigest()
