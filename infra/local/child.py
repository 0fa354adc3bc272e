"""One supervised process: its command, its log, and what it announced."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from infra.local import tether

LAST_LINES = 3
LINE_LENGTH = 300
STACK_FRAME = re.compile(r"\s*($|at |\.\.\. \d+ more|File \"|\^|Traceback)")


class ProcessSpec(msgspec.Struct, frozen=True, kw_only=True):
    """What to run.

    Attributes:
        environment: added to ours.
        announces: it prints one JSON line `{"ready": true, "url": …}` on stdout once ready.
        restarts: how often it is started again after an unexpected exit, with the same command.
        stop_seconds: between SIGTERM and SIGKILL.
        nice: steps of priority below ours.
    """

    name: str
    command: tuple[str, ...]
    environment: dict[str, str] = {}
    announces: bool = False
    restarts: int = 0
    stop_seconds: float = 10.0
    nice: int = 0


class Child:
    """A process in a session of its own: a terminal's Ctrl-C reaches its owner only."""

    def __init__(self, spec: ProcessSpec, log: Path) -> None:
        self.spec = spec
        self.log = log
        self.starts = 0
        self.settled = False  # it was ready once: from then on it is started again
        self._process: subprocess.Popen[bytes] | None = None
        self._log_start = 0

    def spawn(self) -> None:
        """Start it (again). The calling thread must live as long as the child is to live."""
        with self.log.open("ab") as output:
            self._log_start = output.tell()
            self._process = self._run(output)
        self.starts += 1

    def _run(self, output: BinaryIO) -> subprocess.Popen[bytes]:
        # -I -S: the tether needs neither site-packages nor our environment, and starts faster.
        tied = [sys.executable, "-I", "-S", tether.__file__, str(os.getpid()), str(self.spec.nice)]
        return subprocess.Popen(
            [*tied, *self.spec.command],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, "PYTHONUNBUFFERED": "1", **self.spec.environment},
            start_new_session=True,
        )

    @property
    def pid(self) -> int:
        """Process id of the latest start, 0 before the first."""
        return self._process.pid if self._process else 0

    def exit_code(self) -> int | None:
        """None while it runs."""
        return self._process.poll() if self._process else None

    def announced(self) -> dict[str, Any] | None:
        """The object that it printed since its latest start; None so far."""
        for line in self._output().splitlines():
            if line.startswith(b"{") and b'"ready"' in line:
                try:
                    found = msgspec.json.decode(line, type=dict[str, Any])
                except msgspec.DecodeError:
                    continue
                if found.get("ready") is True:
                    return found
        return None

    def last_words(self) -> str:
        """The last lines of its log, as one."""
        lines = self._output().decode("utf-8", "replace").splitlines()
        spoken = [line.strip()[:LINE_LENGTH] for line in lines if not STACK_FRAME.match(line)]
        return " | ".join(spoken[-LAST_LINES:]) or "it said nothing"

    def _output(self) -> bytes:
        with self.log.open("rb") as file:
            file.seek(self._log_start)
            return file.read()

    def signal(self, number: int) -> None:
        """Send a signal, if it still runs."""
        if self._process is not None:
            self._process.send_signal(number)

    def stop(self) -> None:
        """SIGTERM, SIGKILL after `stop_seconds`, and whatever it started itself goes too."""
        process = self._process
        if process is None:
            return
        process.terminate()
        try:
            process.wait(self.spec.stop_seconds)
        except subprocess.TimeoutExpired:
            process.kill()
        self.sweep()
        process.wait()

    def sweep(self) -> None:
        """Kill what is left of its session's process group."""
        try:
            os.killpg(self.pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            return

    def wait(self, seconds: float) -> bool:
        """Whether it ended within so many seconds."""
        deadline = time.monotonic() + seconds
        while self.exit_code() is None and time.monotonic() < deadline:
            time.sleep(0.01)
        return self.exit_code() is not None
