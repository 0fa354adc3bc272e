"""The house rules that a machine can check, and the README against the code."""

from __future__ import annotations

import ast
import importlib.util
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("streams", "online", "models", "dashboards", "infra")
MODULES = sorted(path for name in PACKAGES for path in (ROOT / name).rglob("*.py"))


@pytest.mark.parametrize("module", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_module_is_small_and_says_what_it_is(module: Path) -> None:
    text = module.read_text("utf-8")
    assert len(text.splitlines()) <= 300
    assert ast.get_docstring(ast.parse(text)), "a module starts with its docstring"
    assert module.stem not in {"utils", "common", "helpers", "base"}


def test_a_test_module_is_small_too() -> None:
    sizes = {
        str(path.relative_to(ROOT)): len(path.read_text("utf-8").splitlines())
        for path in (ROOT / "tests").rglob("*.py")
    }
    assert {name: size for name, size in sizes.items() if size > 300} == {}


def test_the_tables_and_the_file_map_of_the_readme_are_current() -> None:
    spec = importlib.util.spec_from_file_location("generate", ROOT / "docs" / "generate.py")
    assert spec is not None and spec.loader is not None
    generate = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(generate)
    readme = (ROOT / "README.md").read_text("utf-8")
    assert generate.rewritten(readme) == readme, "run `make readme` and commit"
    metrics = (ROOT / "docs" / "metrics.md").read_text("utf-8")
    assert generate.metrics() == metrics, "run `make readme` and commit"
