"""Child processes that start together, are started again when they fall, and never outlive us."""

from __future__ import annotations

import queue
import signal as signals
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from infra.local.child import Child, ProcessSpec
from infra.settings import UserError
from infra.telemetry import get_logger

__all__ = ["ProcessSpec", "Ready", "Supervisor"]

WATCH_SECONDS = 0.05
READY_POLL_SECONDS = 0.02
RESTART_PAUSE_SECONDS = 0.2

Ready = Callable[[], bool]
log = get_logger("supervisor")


class Supervisor:
    """Starts, watches and stops processes; stdout and stderr of each go to `log_dir/<name>.log`.

    One thread, the keeper, spawns every process and lives until `stop`: on Linux a child is tied
    to the *thread* that spawned it. `start` and `stop` are for one owner; the rest for any thread.
    """

    def __init__(self, log_dir: Path) -> None:
        self._log_dir = log_dir
        self._children: dict[str, Child] = {}
        self._failed: list[str] = []
        self._spawning: queue.SimpleQueue[tuple[Child, threading.Event]] = queue.SimpleQueue()
        self._stopping = threading.Event()
        self._keeper: threading.Thread | None = None
        self._keeper_rests, self._keeper_may_go = threading.Event(), threading.Event()

    def __enter__(self) -> Supervisor:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def start(
        self, spec: ProcessSpec, ready: Ready | None = None, timeout_seconds: float = 60.0
    ) -> dict[str, Any]:
        """Start a process and wait until it announces itself, if it does, and `ready()` holds.

        Returns:
            The announced object, or {}.

        Raises:
            UserError: it ended, or is not ready in time; the message holds its log's last lines.
        """
        return self.start_together([(spec, ready)], timeout_seconds)[spec.name]

    def start_together(
        self, parts: Sequence[tuple[ProcessSpec, Ready | None]], timeout_seconds: float = 60.0
    ) -> dict[str, dict[str, Any]]:
        """`start` for several at once: name → announced object."""
        deadline = time.monotonic() + timeout_seconds
        children = [self._launch(spec) for spec, _ in parts]
        return {
            child.spec.name: self._await(child, ready, deadline)
            for child, (_, ready) in zip(children, parts, strict=True)
        }

    def names(self) -> list[str]:
        """Of all that were started."""
        return list(self._children)

    def pid(self, name: str) -> int:
        """Process id of the latest start."""
        return self._children[name].pid

    def kill(self, name: str, signal: int = signals.SIGKILL) -> None:
        """Send a signal. An exit that follows counts as unexpected."""
        self._children[name].signal(signal)

    def forgive(self) -> None:
        """Count restarts from here on: the exits until now were meant."""
        for child in self._children.values():
            child.starts = min(child.starts, 1)

    def failed(self) -> list[str]:
        """Names of those that ended unexpectedly and are out of restarts."""
        return list(self._failed)

    def log_of(self, name: str) -> Path:
        """Where the process writes to."""
        return self._children[name].log

    def stop(self) -> None:
        """Stop all in reverse order of start; returns with no child left. May be called twice."""
        self._stopping.set()
        if self._keeper is None:
            return
        # The keeper starts nothing more, but stays: its end would kill them all at once.
        self._keeper_rests.wait()
        for child in reversed(self._children.values()):
            child.stop()
        self._keeper_may_go.set()
        self._keeper.join()
        self._keeper = None
        self._children.clear()

    def _launch(self, spec: ProcessSpec) -> Child:
        if self._stopping.is_set():
            raise RuntimeError("the supervisor was stopped")
        if spec.name in self._children:
            raise ValueError(f"{spec.name} was started already")
        self._log_dir.mkdir(parents=True, exist_ok=True)
        path = self._log_dir / f"{spec.name}.log"
        if path.exists():
            path.replace(path.with_suffix(".log.1"))
        child = self._children[spec.name] = Child(spec, path)
        if self._keeper is None:
            self._keeper = threading.Thread(target=self._keep, name="keeper", daemon=True)
            self._keeper.start()
        done = threading.Event()
        self._spawning.put((child, done))
        done.wait()
        if not child.starts:
            raise UserError(f"{spec.name} cannot be started: no process could be made")
        return child

    def _await(self, child: Child, ready: Ready | None, deadline: float) -> dict[str, Any]:
        spec, announced = child.spec, None
        while True:
            ended = child.exit_code()
            announced = child.announced() if spec.announces else {}
            if ended is None and announced is not None and (ready is None or ready()):
                child.settled = True
                return announced
            # What falls before it stood would fall again: no restart here.
            if ended is not None:
                raise UserError(
                    f"{spec.name} ended while it started (exit code {ended}): "
                    f"{child.last_words()} (log: {child.log})"
                )
            if time.monotonic() > deadline:
                raise UserError(
                    f"{spec.name} was not ready in time: {child.last_words()} (log: {child.log})"
                )
            time.sleep(READY_POLL_SECONDS)

    def _keep(self) -> None:
        while not self._stopping.is_set():
            try:
                child, done = self._spawning.get(timeout=WATCH_SECONDS)
            except queue.Empty:
                self._look_after()
                continue
            self._spawn(child)
            done.set()
        self._keeper_rests.set()
        self._keeper_may_go.wait()

    def _spawn(self, child: Child) -> None:
        try:
            child.spawn()
        except OSError as error:  # out of processes, memory or files; the keeper must go on
            log.exception("process.not_spawned", name=child.spec.name, error=str(error))

    def _look_after(self) -> None:
        for name, child in list(self._children.items()):
            ended = child.exit_code()
            if ended is None or not child.settled or name in self._failed:
                continue
            if self._stopping.is_set():
                return
            child.sweep()
            if child.starts > child.spec.restarts:
                self._failed.append(name)
                log.error("process.failed", name=name, exit_code=ended, log=str(child.log))
            elif not self._stopping.wait(RESTART_PAUSE_SECONDS):
                log.warning("process.restarted", name=name, exit_code=ended, starts=child.starts)
                self._spawn(child)
