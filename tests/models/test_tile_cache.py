"""Machine code kept between processes: read where it is whole, written anew where it is not."""

from __future__ import annotations

import ctypes
from pathlib import Path

import pytest
from llvmlite import ir

from models.tile_cache import Kept
from models.tile_code import INT, Code, Compiled


def module() -> ir.Module:
    """`double` writes twice the number at its address."""
    made = ir.Module("test")
    code = Code(made, "double", 1)
    (address,) = code.arguments
    code.store(code.load(address, INT) * 2, address)
    code.done()
    return made


def doubled(value: int) -> int:
    held, compiled = ctypes.c_int64(value), Compiled(module())
    compiled.function("double", 1)(ctypes.addressof(held))
    return held.value


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


def test_code_is_made_once_and_damaged_code_never_run(home: Path) -> None:
    assert Kept(str(module())).found is None
    assert doubled(4) == 8
    (file,) = home.glob(".cache/springtide/code/*")
    whole = file.read_bytes()
    assert Kept(str(module())).found == whole[32:]
    assert doubled(5) == 10
    file.write_bytes(whole[:-7])
    assert Kept(str(module())).found is None
    assert doubled(6) == 12
    assert file.read_bytes()[32:], "written anew"


def test_without_a_place_to_write_code_is_made_every_time(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (home / ".cache").write_text("no folder")
    assert doubled(7) == 14
