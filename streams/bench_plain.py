"""The peer of `bench ingest`: an ordinary Faust agent that decodes JSON and does nothing else.

Tuned as far as Faust's settings go: uvloop, 1 MiB fetches, deep buffers, no tables, no web server,
Faust's own C stream iterator and automatic acknowledgement.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import faust

GROUP = "springtide-plain"


def plain_app(servers: list[str], names: list[str], folder: Path) -> Any:
    """The app: `async for` over the decoded events of these topics."""
    app = faust.App(
        GROUP,
        broker=";".join(f"aiokafka://{server}" for server in servers),
        datadir=str(folder),
        autodiscover=False,
        web_enabled=False,
        topic_disable_leader=True,
        topic_allow_declare=False,
        consumer_auto_offset_reset="earliest",
        stream_wait_empty=False,
        stream_buffer_maxsize=16_384,
        broker_max_poll_records=10_000,
        broker_commit_interval=0.5,
        consumer_max_fetch_size=1 << 20,
    )
    source = app.topic(*names, value_type=None, value_serializer="json", key_serializer="raw")

    @app.agent(source, concurrency=1)
    async def consume(stream: Any) -> None:
        async for _event in stream:
            pass

    @app.on_partitions_assigned.connect(weak=False)
    async def announce(*_: Any, **__: Any) -> None:
        print(json.dumps({"ready": True, "url": ""}), flush=True)

    return app


def main() -> None:
    """Arguments: servers, topics (comma-separated), folder."""
    import uvloop
    from mode import Worker

    uvloop.install()
    servers, names, folder = sys.argv[1:4]
    app = plain_app(servers.split(","), names.split(","), Path(folder))
    Worker(app, loglevel="WARNING", redirect_stdouts=False).execute_from_commandline()


if __name__ == "__main__":
    main()
