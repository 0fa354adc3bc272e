"""`springtide demo` as a user starts it, and whether it leaves anything running."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import psutil
import pytest

SPRINGTIDE = (sys.executable, "-m", "streams.cli")
END_SECONDS = 240


class Ended(NamedTuple):
    """How a demo ended."""

    code: int
    out: str
    err: str

    @property
    def summary(self) -> dict[str, Any]:
        """The JSON object that it printed."""
        assert self.out, self.err[-3000:]
        found: dict[str, Any] = json.loads(self.out)
        return found


class Demo:
    """A demo that runs; its data are below `folder`."""

    def __init__(self, folder: Path, command: tuple[str, ...], environment: dict[str, str]) -> None:
        self.folder = folder
        # A name of this run alone in the environment of every process it starts.
        self.mark = f"{folder.name}-{os.getpid()}"
        inherited = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith("SPRINGTIDE_") and name != "KAFKA_HOME"
        }
        self.popen = subprocess.Popen(
            (*command, "--json", "--data-dir", str(folder)),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**inherited, **environment, "DEMO_TEST_MARK": self.mark},
        )

    def says(self, text: str) -> None:
        """Wait until a line of its stderr holds the text."""
        assert self.popen.stderr is not None
        heard = []
        for line in self.popen.stderr:
            heard.append(line)
            if text in line:
                return
        raise AssertionError(f"it never said {text!r}: {''.join(heard)[-3000:]}")

    def end(self) -> Ended:
        """Wait for the end."""
        out, err = self.popen.communicate(timeout=END_SECONDS)
        return Ended(self.popen.returncode, out, err)

    def processes(self) -> list[psutil.Process]:
        """Its processes that run, itself included."""
        found = []
        for process in psutil.process_iter():
            try:
                if process.environ().get("DEMO_TEST_MARK") == self.mark:
                    found.append(process)
            except (psutil.AccessDenied, psutil.NoSuchProcess, psutil.ZombieProcess):
                continue
        return found


@pytest.fixture
def start_demo(tmp_path: Path) -> Iterator[Callable[..., Demo]]:
    """Start a demo: `start_demo("--for", "5", kafka_home=…, command=…)`."""
    started: list[Demo] = []

    def start(
        *arguments: str,
        kafka_home: Path | None = None,
        command: tuple[str, ...] = (*SPRINGTIDE, "demo"),
    ) -> Demo:
        environment = {"KAFKA_HOME": str(kafka_home)} if kafka_home else {}
        folder = tmp_path / f"demo-{len(started)}"
        started.append(Demo(folder, (*command, *arguments), environment))
        return started[-1]

    yield start
    for demo in started:
        demo.popen.kill()
        demo.popen.wait()
