"""Long work of a learner in the worker's loop: step by step, and what may in a thread."""

from __future__ import annotations

import asyncio

from online.steps import Steps


async def in_turn(steps: Steps) -> None:
    """Do all the steps; others have their turn in between."""
    for aside in steps:
        await (asyncio.sleep(0) if aside is None else asyncio.to_thread(aside))
