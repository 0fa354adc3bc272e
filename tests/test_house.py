"""The house rules that a machine can check, and the README against the code."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from infra.settings import Settings
from streams.cli import COMMANDS
from streams.topics import CATALOGUE

ROOT = Path(__file__).parents[1]
PACKAGES = ("streams", "online", "models", "dashboards", "infra")
MODULES = sorted(path for name in PACKAGES for path in (ROOT / name).rglob("*.py"))
README = (ROOT / "README.md").read_text("utf-8")


@pytest.mark.parametrize("module", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_module_is_small_and_says_what_it_is(module: Path) -> None:
    text = module.read_text("utf-8")
    assert len(text.splitlines()) <= 300
    assert ast.get_docstring(ast.parse(text)), "a module starts with its docstring"
    assert module.stem not in {"utils", "common", "helpers", "base"}


def test_the_readme_names_every_setting_with_its_meaning() -> None:
    for name, field in Settings.model_fields.items():
        row = f"| `SPRINGTIDE_{name.upper()}` |"
        assert row in README, f"add to the settings table: {row} … | {field.description} |"
        line = next(line for line in README.splitlines() if line.startswith(row))
        assert (field.description or "") in line


def test_the_readme_names_every_topic_and_command() -> None:
    for spec in CATALOGUE:
        assert f"| `{spec.name}` |" in README
    for name in COMMANDS:
        assert f"`springtide {name}" in README


def test_the_file_map_of_the_readme_is_whole() -> None:
    start = README.index("## The house")
    section = README[start : README.index("\n## ", start + 5)]
    for module in MODULES:
        if module.stem != "__init__":
            assert f" {module.stem}.py" in section, f"the file map lacks {module.stem}.py"
