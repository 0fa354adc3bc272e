"""`springtide api` as a process: how it refuses to start, and what it shows without a token."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import httpx
from redis import Redis

from infra.local.ports import free_port
from streams.fatal import FATAL
from tests.streams.test_lists_again import forgetful_valkey

SPRINGTIDE = str(Path(sys.executable).with_name("springtide"))


def run(environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [SPRINGTIDE, "api", *arguments]
    return subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=60, check=False
    )


def test_starting_against_what_is_not_there_is_one_line(api_environment: dict[str, str]) -> None:
    taken = urlsplit(api_environment["SPRINGTIDE_REDIS_URL"]).port
    away = {**api_environment, "SPRINGTIDE_REDIS_URL": "redis://127.0.0.1:9/0"}
    for environment, arguments, hint in (
        (api_environment, ["--port", "0", "--host", "0.0.0.0"], "SPRINGTIDE_API_TOKENS_FILE"),
        (api_environment, ["--port", str(taken)], "--port 0"),
        (api_environment, ["--tokens-file", "/nowhere"], "cannot be read"),
        (away, ["--port", "0"], "SPRINGTIDE_REDIS_URL"),
    ):
        ended = run(environment, *arguments)
        assert ended.returncode == 2
        assert hint in ended.stderr.splitlines()[-1]
        assert "Traceback" not in ended.stderr


def test_page_data_is_refused_without_a_token(
    api_environment: dict[str, str], tmp_path: Path
) -> None:
    tokens = tmp_path / "tokens"
    tokens.write_text(f"{'r' * 24} school read\n")
    process = subprocess.Popen(
        [SPRINGTIDE, "api", "--port", "0", "--tokens-file", str(tokens)],
        stdout=subprocess.PIPE,
        env=api_environment,
    )
    assert process.stdout is not None
    client = httpx.Client(base_url=json.loads(process.stdout.readline())["url"], timeout=20)
    held = {"authorization": f"Bearer {'r' * 24}"}
    try:
        assert client.get("/").status_code == 401
        assert client.get("/", headers=held).status_code == 200
        for path in ("/ops/panels", "/ops/users", "/ops/alerts", "/ops/data/events", "/v1/alerts"):
            assert client.get(path).status_code == 401
            assert client.get(path, headers=held).status_code == 200
        refused = client.delete("/v1/users/a", headers=held)
        assert refused.status_code == 403
    finally:
        client.close()
        process.terminate()
        process.wait(15)


def test_a_part_that_fails_for_good_ends_the_process(
    api_environment: dict[str, str], tmp_path: Path
) -> None:
    """A Redis that refuses what we ask for: before, the API stayed unready and said nothing."""
    port = free_port()
    with forgetful_valkey(tmp_path, port):
        with Redis(port=port) as redis:
            redis.acl_setuser("river", True, passwords=["+secret"], categories=["+@connection"])
        refused = f"redis://river:secret@127.0.0.1:{port}/0"
        ended = run({**api_environment, "SPRINGTIDE_REDIS_URL": refused}, "--port", "0")
    assert ended.returncode == FATAL
    assert "NoPermissionError" in ended.stderr and "secret" not in ended.stderr
