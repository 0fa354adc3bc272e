"""Compiled code on disk is never older than the sources it was made of."""

from __future__ import annotations

from pathlib import Path

import pytest

from online import cooccurrence, kernels, learning, scoring
from online.peers import eals


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
