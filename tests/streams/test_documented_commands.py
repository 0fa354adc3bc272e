"""Every command that a document shows is one, with the options that it shows."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from streams.cli import COMMANDS, load

ROOT = Path(__file__).parents[2]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
SHOWN = re.compile(r"(?:^|[\s`(;/])springtide ([a-z](?:\\\n|[^`\n])*)", re.MULTILINE)


def commands(text: str) -> list[list[str]]:
    """The words of each; of `a|b` the first, and what is optional is said."""
    found = []
    for shown in SHOWN.findall(text):
        plain = re.sub(r"[\[\]']", "", shown.replace("\\\n", " "))
        words = [word.split("|")[0] for word in shlex.split(plain, comments=True)]
        if words[0] in COMMANDS:
            found.append(words)
    return found


def unknown(words: list[str]) -> str:
    """What the command line does not know of it; values and what is left out are not looked at."""
    command, rest = load(words[0]), words[1:]
    while True:
        given = {word.partition("=")[0] for word in rest if re.match(r"--?[a-z]", word)}
        if not hasattr(command, "get_command"):
            known = {name for each in command.params for name in (*each.opts, *each.secondary_opts)}
            return " ".join(sorted(given - known - {"--help"}))
        if not rest or rest[0] in {"--help", "…"}:
            return ""
        command, name, rest = command.get_command(None, rest[0]), rest[0], rest[1:]
        if command is None:
            return name


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_what_a_document_shows_is_known(document: Path) -> None:
    shown = commands(document.read_text("utf-8"))
    assert not [(words, wrong) for words in shown if (wrong := unknown(words))]


def test_they_are_found_and_a_wrong_one_is_told() -> None:
    shown = commands("`springtide topics apply --partitions 8|9 [--replication 3]`, springtide is")
    assert shown == [["topics", "apply", "--partitions", "8", "--replication", "3"]]
    assert unknown(shown[0]) == ""
    assert unknown([*shown[0], "--copies", "3"]) == "--copies"
    assert unknown(["topics", "aply"]) == "aply"
    assert len(commands((ROOT / "README.md").read_text("utf-8"))) > 40
