"""One connection for many callers, against a real Valkey that is stopped, killed and started."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest
import uvloop
from redis.exceptions import ResponseError

from infra.local.ports import free_port
from infra.local.supervisor import Supervisor
from infra.local.valkey import valkey_part
from infra.serving import transient_errors
from infra.serving_connect import async_redis_client
from infra.serving_pipe import Pipe


@pytest.fixture
def valkey(tmp_path: Path) -> Iterator[tuple[Supervisor, str]]:
    port = free_port()
    with Supervisor(tmp_path / "logs") as supervisor:
        supervisor.start(*valkey_part(tmp_path, port))
        yield supervisor, f"redis://127.0.0.1:{port}/0"


def new_pipe(url: str, timeout_seconds: float = 5.0) -> Pipe:
    return Pipe(async_redis_client(url), timeout_seconds)


def test_every_caller_gets_his_own_answers(valkey: tuple[Supervisor, str]) -> None:
    async def scenario() -> list[Any]:
        pipe = new_pipe(valkey[1])
        asked = [[("SET", f"k{n}", n), ("GET", f"k{n}")] for n in range(200)]
        callers = [asyncio.create_task(pipe.send(commands)) for commands in asked]
        await asyncio.sleep(0)
        for caller in callers[::3]:
            caller.cancel()
        found = await asyncio.gather(*callers, return_exceptions=True)
        assert await pipe.send([]) == []
        await pipe.close()
        return found

    for number, answers in enumerate(asyncio.run(scenario())):
        if number % 3:
            assert answers == [b"OK", str(number).encode()]
        else:
            assert isinstance(answers, asyncio.CancelledError)


def test_a_refusal_stands_in_its_place(valkey: tuple[Supervisor, str]) -> None:
    async def scenario() -> list[Any]:
        pipe = new_pipe(valkey[1])
        found = await pipe.send([("SET", "a", "x"), ("INCR", "a"), ("GET", "a")])
        await pipe.close()
        return found

    set_it, refused, read = asyncio.run(scenario())
    assert (set_it, read) == (b"OK", b"x") and isinstance(refused, ResponseError)


def test_a_server_that_is_started_again_is_reached_again(valkey: tuple[Supervisor, str]) -> None:
    supervisor, url = valkey

    async def scenario() -> list[Any]:
        pipe = new_pipe(url)
        await pipe.send([("SET", "a", 1)])
        await asyncio.sleep(1.1)  # synced every second
        supervisor.kill("valkey")
        for _ in range(100):
            try:
                return await pipe.send([("GET", "a")])
            except transient_errors():
                await asyncio.sleep(0.05)
        raise AssertionError("it never came back")

    assert asyncio.run(scenario()) == [b"1"]


def test_a_server_that_says_nothing_is_not_waited_for(valkey: tuple[Supervisor, str]) -> None:
    supervisor, url = valkey

    async def scenario() -> list[Any]:
        pipe = new_pipe(url, timeout_seconds=0.3)
        await pipe.send([("SET", "a", 1)])
        supervisor.kill("valkey", signal.SIGSTOP)
        began = asyncio.get_running_loop().time()
        both = [pipe.send([("GET", "a")]) for _ in range(2)]
        late = await asyncio.gather(*both, return_exceptions=True)
        assert asyncio.get_running_loop().time() - began < 1.0
        supervisor.kill("valkey", signal.SIGCONT)
        assert all(isinstance(each, transient_errors()) for each in late)
        return await pipe.send([("GET", "a")])

    assert asyncio.run(scenario()) == [b"1"]


@pytest.mark.parametrize("run", [uvloop.run, asyncio.run])
def test_a_connection_that_was_just_reset_is_a_connection_error(
    valkey: tuple[Supervisor, str], run: Callable[[Coroutine[Any, Any, None]], None]
) -> None:
    async def scenario() -> None:
        pipe = new_pipe(valkey[1])
        for number in range(20):
            assert await pipe.send([("SET", "n", number)]) == [b"OK"]
            link = pipe._link
            assert link is not None and not link.broken
            link.connection._writer.transport.abort()  # as a reset does
            assert await pipe.send([("GET", "n")]) == [str(number).encode()]
            link = pipe._link
            assert link is not None
            link._reading.cancel()  # the moment between the two
            link.connection._writer.transport.abort()
            await asyncio.sleep(0)
            assert await pipe.send([("GET", "n")]) == [str(number).encode()]
        await pipe.close()

    run(scenario())
