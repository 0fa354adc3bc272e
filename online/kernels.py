"""Kernels: functions compiled by numba, kept on disk, and compiled anew when any of them changes.

numba looks at a function's own file only. A kernel contains the kernels it calls, so a change in
one module would leave old machine code in the kernels of another; here all go by one stamp.

numba refuses to import a kernel where none of its folders can be written, as in a container whose
root is read-only: here what lies there is used, and what is compiled besides is not kept.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from numba import njit
from numba.core.caching import CompileResultCacheImpl, FunctionCache, UserWideCacheLocator


class _AsFound(UserWideCacheLocator):  # type: ignore[misc]
    """The user's cache folder, whether it can be written or not, whether it is there or not."""

    def ensure_cache_path(self) -> None:
        """Nothing: what cannot be written is found out by writing."""


class _Folders(CompileResultCacheImpl):  # type: ignore[misc]
    _locator_classes = (*CompileResultCacheImpl._locator_classes, _AsFound)


class _Kept(FunctionCache):  # type: ignore[misc]
    _impl_class = _Folders

    def save_overload(self, sig: Any, data: Any) -> None:
        with contextlib.suppress(OSError):
            super().save_overload(sig, data)


def kernel(**options: Any) -> Callable[[Callable[..., Any]], Any]:
    """`numba.njit` with a cache that knows the whole package; options are njit's."""

    options.setdefault("_nrt", True)  # said, because what is left unsaid a callee takes over

    def compiled(function: Callable[..., Any]) -> Any:
        dispatcher = njit(**options)(function)
        dispatcher._cache = _Kept(function)
        inside = Path(function.__code__.co_filename).parent
        dispatcher._cache._cache_file._source_stamp = package_stamp(inside)
        return dispatcher

    return compiled


def leaf(**options: Any) -> Callable[[Callable[..., Any]], Any]:
    """A `kernel` that returns numbers only, and allocates and keeps nothing.

    Otherwise numba counts a reference to every array of a tuple up and down again at every call,
    atomically: 10 ns an array. Whoever calls a leaf holds the arrays for it.
    """
    return kernel(_nrt=False, **options)


@functools.cache
def package_stamp(inside: Path | None = None) -> str:
    """A digest of the package's sources, and of those of the subpackage that a kernel is in."""
    package = Path(__file__).parent
    folders = [package] if inside in {None, package} else [package, inside]
    digest = hashlib.blake2b(digest_size=16)
    for source in (file for folder in folders for file in sorted(folder.glob("*.py"))):
        digest.update(source.read_bytes())
    return digest.hexdigest()
