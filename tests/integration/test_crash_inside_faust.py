"""A crash inside Faust ends the process: it would stand still for ever, and call itself alive."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from infra import warehouse
from infra.local.stack import LocalStack
from streams import topics
from streams.fatal import FATAL

pytestmark = pytest.mark.kafka


def test_who_supervises_the_worker_can_start_it_again(stack: LocalStack, tmp_path: Path) -> None:
    topics.apply(stack.kafka_url)
    warehouse.migrate(stack.clickhouse_url)
    environment = {**os.environ, **stack.environment(), "SPRINGTIDE_DATA_DIR": str(tmp_path)}
    program = Path(__file__).with_name("crashing_worker.py")
    command = [sys.executable, str(program)]
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as worker:
        said, _ = worker.communicate(timeout=100)
    assert "\nready\n" in said and "something unheard-of" in said, said[-3000:]
    assert worker.returncode == FATAL
