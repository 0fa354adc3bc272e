"""`springtide kafka fetch` against a file server here: whole, checked, and it goes on."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from infra.local.kafka_fetch import fetch, pinned
from infra.local.kafka_server import kafka_version
from infra.local.stack import LocalStack
from infra.settings import FETCHED, UserError

pytestmark = pytest.mark.kafka
SPRINGTIDE = str(Path(sys.executable).with_name("springtide"))


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def repository(kafka_home: Path, tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """A Maven repository that holds the jars: its URL and its folder."""
    folder = tmp_path / "maven"
    for path in pinned():
        jar = folder / path
        jar.parent.mkdir(parents=True)
        jar.symlink_to(kafka_home.absolute() / "libs" / jar.name)
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", folder
    server.shutdown()
    server.server_close()


def test_what_was_fetched_is_the_kafka_that_starts(
    repository: tuple[str, Path], tmp_path: Path
) -> None:
    data_dir = tmp_path / "data"
    command = [SPRINGTIDE, "kafka", "fetch", "--data-dir", str(data_dir), "--from", repository[0]]
    said = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "47 jars fetched" in said.stdout
    again = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "is complete" in again.stdout
    assert kafka_version(data_dir / FETCHED) == "4.3.1"
    with LocalStack(data_dir) as stack:  # "auto": it looks there
        assert stack.broker == "kafka 4.3.1"


def test_a_fetch_that_was_broken_off_goes_on(repository: tuple[str, Path], tmp_path: Path) -> None:
    url, folder = repository
    last = list(pinned())[-1]
    away = (folder / last).rename(tmp_path / "away.jar")
    with pytest.raises(UserError, match=r"404.*--from.*KAFKA_HOME"):
        fetch(tmp_path / "home", url)
    away.rename(folder / last)
    (tmp_path / "home" / "libs" / Path(next(iter(pinned()))).name).write_bytes(b"cut off")
    assert fetch(tmp_path / "home", url) == 2
    assert len(list((tmp_path / "home" / "libs").iterdir())) == len(pinned()) == 47


def test_a_jar_that_is_another_is_not_kept(repository: tuple[str, Path], tmp_path: Path) -> None:
    url, folder = repository
    first = folder / next(iter(pinned()))
    first.unlink()
    first.write_bytes(b"something else")
    with pytest.raises(UserError, match="not what was pinned"):
        fetch(tmp_path / "home", url)
    assert not list((tmp_path / "home" / "libs").iterdir())


def test_nobody_there_is_one_line(tmp_path: Path) -> None:
    command = [SPRINGTIDE, "kafka", "fetch", "--data-dir", str(tmp_path)]
    ended = subprocess.run(
        [*command, "--from", "http://127.0.0.1:9"], capture_output=True, text=True, check=False
    )
    assert ended.returncode == 2
    assert "--from" in ended.stderr.splitlines()[-1] and "Traceback" not in ended.stderr
