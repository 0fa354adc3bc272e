"""docs/readers.md says what it does: each of its readers, run as it stands, reads our lists."""

from __future__ import annotations

import os
import re
import secrets
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from infra.serving import ListWrite, RedisTopKStore, StoredList

DOCUMENT = Path(__file__).parents[2] / "docs" / "readers.md"
AROUND = Path(__file__).with_name("readers")  # what Go's and Java's functions stand in
GO_SOURCES = Path("/usr/share/gocode")  # where Debian lays Go's libraries
GO_LIBRARIES = {
    "gomodule/redigo": "golang-github-gomodule-redigo-dev",
    "vmihailenco/msgpack/v5": "golang-github-vmihailenco-msgpack.v5-dev",
}
JARS = [
    Path("/usr/share/java") / f"{name}.jar"
    for name in ("jackson-core", "jackson-annotations", "jackson-databind", "msgpack-core",
                 "msgpack-jackson")
]  # fmt: skip
Items = Callable[[str], list[str]]


def programs() -> dict[str, str]:
    """Language → program."""
    return dict(re.findall(r"```(\w+)\n(.*?)```", DOCUMENT.read_text("utf-8"), re.DOTALL))


def needs(met: Any, install: str) -> None:
    """Without its compiler and libraries a reader is not tried: skipped aloud, failed under CI."""
    if not met:
        reason = f"this reader was NOT tried: {install}"
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(reason)


def run(*command: str | Path, **environment: str) -> str:
    """What it prints; fails with what it says where it fails."""
    ended = subprocess.run(
        command, capture_output=True, text=True, check=False, env={**os.environ, **environment}
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


def python(folder: Path) -> list[str | Path]:
    (folder / "reader.py").write_text(programs()["python"], "utf-8")
    return [sys.executable, folder / "reader.py"]


def go(folder: Path) -> list[str | Path]:
    """Debian's Go reads Debian's libraries without modules."""
    github = GO_SOURCES / "src" / "github.com"
    ready = shutil.which("go") and all((github / name).is_dir() for name in GO_LIBRARIES)
    needs(ready, f"apt-get install golang-go {' '.join(GO_LIBRARIES.values())}")
    source = folder / "reader.go"
    around = (AROUND / "reader.go").read_text("utf-8")
    source.write_text(around.replace("// docs/readers.md\n", programs()["go"]), "utf-8")
    assert run("gofmt", "-l", source) == "", "gofmt would write it otherwise"
    build = ("go", "build", "-o", folder / "reader", source)
    run(*build, GO111MODULE="off", GOPATH=str(GO_SOURCES), GOFLAGS="")
    return [folder / "reader"]


def java(folder: Path) -> list[str | Path]:
    ready = shutil.which("javac") and all(jar.exists() for jar in JARS)
    needs(ready, "apt-get install default-jdk-headless libmsgpack-java libjackson2-databind-java")
    source = folder / "Reader.java"
    around = (AROUND / "Reader.java").read_text("utf-8")
    source.write_text(around.replace("    // docs/readers.md\n", programs()["java"]), "utf-8")
    path = ":".join(str(jar) for jar in JARS)
    client = AROUND / "redis" / "clients" / "jedis" / "Jedis.java"
    run("javac", "-Xlint:all", "-Werror", "-cp", path, "-d", folder, source, client)
    return ["java", "-cp", f"{folder}:{path}", "Reader"]


def js(folder: Path) -> list[str | Path]:
    libraries = AROUND / "node_modules"
    ready = shutil.which("node") and libraries.is_dir()
    needs(ready, "install Node 20, then npm ci --prefix tests/streams/readers")
    (folder / "node_modules").symlink_to(libraries)
    (folder / "reader.mjs").write_text(programs()["js"], "utf-8")
    return ["node", folder / "reader.mjs"]


READERS = {"python": python, "go": go, "java": java, "js": js}


@pytest.fixture(scope="module", params=READERS)
def reader(request: pytest.FixtureRequest, tmp_path_factory: Any) -> list[str | Path]:
    """The command that starts the reader."""
    return READERS[request.param](tmp_path_factory.mktemp(request.param))


@pytest.fixture
def store(stack: Any) -> Iterator[RedisTopKStore]:
    connected = RedisTopKStore.connect(stack.redis_url)
    yield connected
    connected.close()


def test_every_language_has_a_reader_of_about_ten_lines() -> None:
    found = programs()
    assert set(found) == set(READERS)
    assert all(len(program.split("\n")) <= 22 for program in found.values())


def test_a_reader_follows_the_contract(
    stack: Any, store: RedisTopKStore, reader: list[str | Path]
) -> None:
    tenant = f"reader-{secrets.token_hex(4)}"

    def items(user: str) -> list[str]:
        return run(*reader, stack.redis_url, tenant, user).split()

    assert items("ann") == []
    store.write_popular(tenant, StoredList(1, (1, 1), 0, ["hit"], [0.0], "popular", 0))
    own = StoredList(
        1, (7, 2**33), 1_795_824_000_123, ["课程", "b"], [1.0, 0.5], "blend", 2**40,
        [(1, 0.25)], [("b", "课程")],
    )  # fmt: skip
    assert store.write_many([ListWrite(tenant, "ann", own)], 60) == [True]
    assert items("ann") == ["课程", "b"]
    store.write_profile(tenant, "ann")
    assert items("ann") == ["课程", "b"]
    store.write_profile(tenant, "ann", personalise=False)
    assert items("ann") == ["hit"]
    store.delete_user(tenant, "ann")  # leaves an empty list behind for a while
    assert items("ann") == ["hit"]


def test_a_reader_that_cannot_know_shows_no_list_of_the_users_own(
    stack: Any, store: RedisTopKStore, reader: list[str | Path]
) -> None:
    tenant = f"reader-{secrets.token_hex(4)}"
    own = StoredList(1, (1, 1), 0, ["secret"], [1.0], "blend", 0)
    store.write_many([ListWrite(tenant, "ann", own)], 60)
    with redis.Redis.from_url(stack.redis_url) as client:
        client.set(f"profile:{tenant}:ann", b"{broken", ex=60)
    command = [*reader, stack.redis_url, tenant, "ann"]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode != 0 and "secret" not in ended.stdout + ended.stderr
