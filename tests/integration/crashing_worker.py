"""A worker whose Faust crashes as soon as it is of use: python crashing_worker.py."""

from __future__ import annotations

import asyncio

from infra.serving import AsyncRedisTopKStore
from infra.settings import load_settings
from streams.app import create_app


async def main() -> None:
    settings = load_settings()
    store = await AsyncRedisTopKStore.connect(settings.redis_url.get_secret_value())
    worker = create_app(settings, store)
    await worker.start()
    await worker.ready()
    print("ready", flush=True)
    await worker.faust.consumer.crash(RuntimeError("as if Kafka had said something unheard-of"))
    await asyncio.sleep(60)


asyncio.run(main())
