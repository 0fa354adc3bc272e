"""`springtide classifier` as a process of its own, for tests that need one of their own."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

COMMAND = (sys.executable, "-m", "streams.cli", "classifier", "--port", "0", "--threads", "1")


@contextmanager
def classifier_process(*options: str) -> Iterator[str]:
    """Its URL, once it is ready."""
    with subprocess.Popen([*COMMAND, *options], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield json.loads(process.stdout.readline())["url"]
        finally:
            process.terminate()
