"""Compiled code on disk is never older than the sources it was made of."""

from __future__ import annotations

import errno
import importlib.util
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest
from numba.core import caching

from online import cooccurrence, kernels, learning, scoring
from online.arrays import F32
from online.factors import draw, new_factors, push, replay, replayed, step
from online.kernels import kernel, leaf
from online.peers import eals
from online.prefetch import prefetch


def test_every_kernel_goes_by_the_stamp_of_the_whole_package() -> None:
    inside = Path(kernels.__file__).parent
    for module in (cooccurrence, learning, scoring):
        made = [v for v in vars(module).values() if hasattr(v, "py_func")]
        assert made
        for dispatcher in made:
            assert dispatcher._cache._cache_file._source_stamp == kernels.package_stamp(inside)


def test_a_kernel_of_a_subpackage_goes_by_its_sources_too() -> None:
    stamp = eals._solve._cache._cache_file._source_stamp
    assert stamp == kernels.package_stamp(Path(eals.__file__).parent)
    assert stamp != kernels.package_stamp(Path(kernels.__file__).parent)


def test_a_change_in_any_module_changes_the_stamp(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kernels, "__file__", str(tmp_path / "kernels.py"))
    stamps = set()
    for content in ("x = 1", "x = 2"):
        (tmp_path / "callee.py").write_text(content)
        kernels.package_stamp.cache_clear()
        stamps.add(kernels.package_stamp())
    kernels.package_stamp.cache_clear()
    assert len(stamps) == 2


def test_where_nothing_can_be_written_what_lies_there_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A container whose root is read-only: numba itself would refuse to import the module."""
    (tmp_path / "__pycache__").write_text("beside the module is no room")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(caching.config, "CACHE_DIR", "")
    source = tmp_path / "twice.py"
    source.write_text("def twice(x):\n    return x + x\n", "utf-8")
    spec = importlib.util.spec_from_file_location("twice", source)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    made = kernels.kernel()(module.twice)
    assert made(2) == 4 and list(tmp_path.glob("cache/numba/*/*.nbc"))

    def refuse(*_: Any) -> NoReturn:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(caching._CacheLocator, "ensure_cache_path", refuse)
    monkeypatch.setattr(caching.IndexDataCacheFile, "_open_for_write", refuse)
    again = kernels.kernel()(module.twice)
    assert again(2) == 4 and sum(again.stats.cache_hits.values()) == 1
    assert again(0.5) == 1.0  # compiled here, and not kept


@kernel()
def _sum_of_copy(some: F32) -> float:
    return float(some.copy().sum())


@leaf()
def _asked(some: F32, at: int) -> float:
    prefetch(some, at)
    return float(some[0, 0]) + _sum_of_copy(some[1])


def test_a_leaf_may_call_a_kernel_that_allocates() -> None:
    assert _asked(np.ones((2, 8), np.float32), 3) == 9
    # What a kernel does not say for itself it takes over from whoever calls it first.
    assert _sum_of_copy.targetoptions["_nrt"] and not _asked.targetoptions["_nrt"]


@pytest.mark.parametrize("at", [0, 15, 10**9, -(10**12)])
def test_memory_may_be_asked_for_wherever_it_is(at: int) -> None:
    assert _asked(np.ones((2, 8), np.float32), at) == 9


def test_what_will_be_replayed_is_known_before() -> None:
    f = new_factors(64, 4, 8, 16, 0)
    context = np.arange(3, dtype=np.int32)
    for n in range(60):
        count = n % 4
        foreseen, state = replayed(f, count), f.random.copy()
        push(f, n, context, count, 1)
        for _ in range(8 if count else 0):
            draw(state, 16)
        if n > 0:
            back = 1 + draw(state, min(n, 15))
            assert foreseen == (n - back) % 16
        if count:
            step(f, n, context, count, 0.1)
        replay(f, 0.1)
