"""The worker of `bench ingest`: the real one, with some of its parts left out.

python -m streams.bench_worker '{"learner":"all","lists":"each","archive":true}' --port 0
"""

from __future__ import annotations

import sys

import msgspec
import uvloop

from infra import telemetry
from infra.settings import load_settings
from streams.commands.worker import run_worker
from streams.components import Components

if __name__ == "__main__":
    telemetry.configure()
    components = msgspec.json.decode(sys.argv[1], type=Components)
    uvloop.run(run_worker(load_settings(), "127.0.0.1", 0, components))
