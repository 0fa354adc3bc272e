"""Nothing that we bring asks for more than its notice, unless somebody looked at it."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

DOCS = Path(__file__).parents[1] / "docs"


@pytest.fixture(scope="module")
def licences() -> ModuleType:
    spec = importlib.util.spec_from_file_location("licences", DOCS / "licences.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_licence_is_free_or_known(licences: ModuleType) -> None:
    assert licences.not_free(licences.licences()) == {}


def test_a_licence_with_conditions_is_found(licences: ModuleType) -> None:
    found = {"a": "MIT", "b": "GNU General Public License v3", "c": "UNKNOWN", "d": "AGPL-3.0"}
    assert set(licences.not_free(found)) == {"b", "c", "d"}


def test_the_page_is_current(licences: ModuleType) -> None:
    written = (DOCS / "licences.md").read_text("utf-8")
    assert written == licences.page(), "run `make licences` and commit"
