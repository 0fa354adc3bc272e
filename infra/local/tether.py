"""Run a command that ends when its owner ends: `python tether.py OWNER_PID NICE COMMAND…`.

A file of its own, run by path, so that a supervisor with threads needs no code between fork and
exec. On Linux the kernel kills the command when its owner is gone, even by kill -9. Elsewhere a
watcher looks twice a second: best effort, for a killed watcher watches nothing.
"""

from __future__ import annotations

import os
import signal
import sys
import time

PR_SET_PDEATHSIG = 1
WATCH_SECONDS = 0.5


def tie(owner: int) -> None:
    """From here on this process ends with `owner`."""
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    elif os.fork() == 0:
        _watch(owner, os.getppid())
    if os.getppid() != owner:  # gone before we were tied
        sys.exit(1)


def yield_to_others(steps: int) -> None:
    """Let others go first, as `nice` does.

    Linux may share out its processors by sessions first ("autogroups"), and a child's session is
    its own: there `nice` alone would order it among its own threads only.
    """
    os.nice(steps)
    try:
        group = os.open("/proc/self/autogroup", os.O_WRONLY)
    except OSError:
        return
    os.write(group, str(steps).encode())
    os.close(group)


def _watch(owner: int, child: int) -> None:
    while _alive(owner):
        if os.getppid() != child:
            os._exit(0)
        time.sleep(WATCH_SECONDS)
    os.kill(child, signal.SIGKILL)
    os._exit(0)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


if __name__ == "__main__":
    tie(int(sys.argv[1]))
    if sys.argv[2] != "0":
        yield_to_others(int(sys.argv[2]))
    command = sys.argv[3:]
    try:
        os.execvpe(command[0], command, os.environ)
    except OSError as error:
        print(f"{command[0]}: {error.strerror}", file=sys.stderr)
        sys.exit(127)
