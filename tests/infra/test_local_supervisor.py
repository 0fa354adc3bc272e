"""Real processes: started, watched, started again, and never left behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from infra.local.supervisor import ProcessSpec, Supervisor
from infra.settings import UserError

SLEEP = "import time; time.sleep(60)"
DEAF = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); "
ANNOUNCE = 'print(\'{"ready": true, "url": "http://127.0.0.1:1"}\'); '


def python(name: str, code: str, **more: object) -> ProcessSpec:
    return ProcessSpec(name=name, command=(sys.executable, "-c", code), **more)  # type: ignore[arg-type]


def eventually(holds: Callable[[], bool], seconds: float = 5.0) -> bool:
    deadline = time.monotonic() + seconds
    while not holds() and time.monotonic() < deadline:
        time.sleep(0.02)
    return holds()


def gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


@pytest.fixture
def supervisor(tmp_path: Path) -> Iterator[Supervisor]:
    with Supervisor(tmp_path / "logs") as made:
        yield made


def test_a_process_is_ready_once_it_says_so(supervisor: Supervisor, tmp_path: Path) -> None:
    noise = "print('{\"ready\": 1}'); print('{not json \"ready\"'); "
    found = supervisor.start(python("a", noise + ANNOUNCE + SLEEP, announces=True))
    assert found == {"ready": True, "url": "http://127.0.0.1:1"}
    assert "not json" in (tmp_path / "logs" / "a.log").read_text()
    with pytest.raises(ValueError, match="started already"):
        supervisor.start(python("a", SLEEP))


def test_a_process_waits_for_its_check_and_gets_its_environment(
    supervisor: Supervisor, tmp_path: Path
) -> None:
    mark = tmp_path / "mark"
    code = (
        f"import os, pathlib; pathlib.Path({str(mark)!r}).write_text(os.environ['MORE']); {SLEEP}"
    )
    spec = python("a", code, environment={"MORE": "yes"})
    assert supervisor.start(spec, ready=mark.exists) == {}
    assert eventually(lambda: mark.read_text() == "yes")


def test_a_process_that_ends_is_one_line_with_its_last_words(supervisor: Supervisor) -> None:
    with pytest.raises(UserError, match=r"^a ended .*exit code 3.*the port is taken") as caught:
        supervisor.start(python("a", "import sys; print('the port is taken'); sys.exit(3)"), bool)
    assert "\n" not in str(caught.value)


def test_a_command_that_is_not_there_is_one_line(supervisor: Supervisor) -> None:
    with pytest.raises(UserError, match="No such file"):
        supervisor.start(ProcessSpec(name="a", command=("/no/such/thing",)), ready=bool)


def test_a_process_that_is_late_is_one_line(supervisor: Supervisor) -> None:
    with pytest.raises(UserError, match="not ready in time: still loading"):
        supervisor.start(python("a", f"print('still loading'); {SLEEP}"), bool, timeout_seconds=0.5)


def test_several_start_at_the_same_time(supervisor: Supervisor) -> None:
    code = f"import time; time.sleep(0.6); {ANNOUNCE}{SLEEP}"
    began = time.monotonic()
    found = supervisor.start_together([(python(n, code, announces=True), None) for n in "abcd"])
    assert sorted(found) == ["a", "b", "c", "d"]
    assert time.monotonic() - began < 2.0


def test_a_killed_process_is_started_again_until_it_has_had_its_turns(
    supervisor: Supervisor,
) -> None:
    supervisor.start(python("a", SLEEP, restarts=2))
    for _ in range(2):
        old = supervisor.pid("a")
        supervisor.kill("a")
        assert eventually(lambda old=old: supervisor.pid("a") != old)  # type: ignore[misc]
        assert gone(old) and not gone(supervisor.pid("a"))
        assert supervisor.failed() == []
    supervisor.kill("a", signal.SIGTERM)
    assert eventually(lambda: supervisor.failed() == ["a"])


def test_exits_that_were_meant_do_not_use_up_its_turns(supervisor: Supervisor) -> None:
    supervisor.start(python("a", SLEEP, restarts=1))
    for _ in range(3):
        old = supervisor.pid("a")
        supervisor.kill("a")
        assert eventually(lambda old=old: supervisor.pid("a") != old)  # type: ignore[misc]
        supervisor.forgive()
    assert supervisor.failed() == []


def test_stopping_leaves_nothing_not_even_the_deaf_and_their_children(tmp_path: Path) -> None:
    supervisor = Supervisor(tmp_path)
    nested = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {DEAF + SLEEP!r}]); "
    specs = [
        python("plain", SLEEP),
        python("deaf", DEAF + ANNOUNCE + SLEEP, announces=True, stop_seconds=0.3),
        python("parent", nested + ANNOUNCE + SLEEP, announces=True),
    ]
    supervisor.start_together([(spec, None) for spec in specs])
    mine = [psutil.Process(supervisor.pid(spec.name)) for spec in specs]
    mine += mine[2].children()
    assert len(mine) == 4
    began = time.monotonic()
    supervisor.stop()
    assert time.monotonic() - began < 5
    assert eventually(lambda: all(gone(process.pid) for process in mine), 1)
    assert supervisor.failed() == []
    supervisor.stop()


def test_processes_stop_in_reverse_order(tmp_path: Path) -> None:
    diary = tmp_path / "diary"
    code = (
        "import signal, sys, time\n"
        f"def end(*_): open({str(diary)!r}, 'a').write(sys.argv[1]); sys.exit(0)\n"
        "signal.signal(signal.SIGTERM, end)\n"
        "print('{\"ready\": true}')\n"
        "time.sleep(60)"
    )
    with Supervisor(tmp_path) as supervisor:
        for name in "abc":
            command = (sys.executable, "-c", code, name)
            supervisor.start(ProcessSpec(name=name, command=command, announces=True))
    assert diary.read_text() == "cba"


def test_a_process_outlives_the_thread_that_asked_for_it(supervisor: Supervisor) -> None:
    asking = threading.Thread(target=supervisor.start, args=(python("a", SLEEP),))
    asking.start()
    asking.join()
    time.sleep(0.3)
    assert not gone(supervisor.pid("a")) and supervisor.failed() == []


def test_no_process_outlives_an_owner_that_is_killed(tmp_path: Path) -> None:
    owner_code = (
        "import json, sys, time\n"
        "from pathlib import Path\n"
        "from infra.local.supervisor import ProcessSpec, Supervisor\n"
        "owner = Supervisor(Path(sys.argv[1]))\n"
        "command = (sys.executable, '-c', sys.argv[2])\n"
        "for name in 'ab':\n"
        "    owner.start(ProcessSpec(name=name, command=command, announces=True, restarts=9))\n"
        "print(json.dumps([owner.pid(name) for name in 'ab']), flush=True)\n"
        "time.sleep(60)\n"
    )
    owner = subprocess.Popen(
        [sys.executable, "-c", owner_code, str(tmp_path), DEAF + ANNOUNCE + SLEEP],
        stdout=subprocess.PIPE,
    )
    assert owner.stdout is not None
    pids = json.loads(owner.stdout.readline())
    assert not any(gone(pid) for pid in pids)
    os.kill(owner.pid, signal.SIGKILL)
    owner.wait()
    owner.stdout.close()
    assert eventually(lambda: all(gone(pid) for pid in pids), 3)
