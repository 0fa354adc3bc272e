"""Profiles: Redis first, so that the API honours an opt-out at once, then the learner."""

from __future__ import annotations

import stamina

from streams.events import Profile, user_key
from streams.partition import PartitionState
from streams.recommend import Recommend
from streams.river import River


class Profiles:
    """What users say of themselves; taking a profile twice is harmless."""

    def __init__(self, river: River, recommend: Recommend) -> None:
        self._river = river
        self._recommend = recommend

    async def take(
        self, profile: Profile, state: PartitionState, offset: int, received_ms: int
    ) -> None:
        """Store the profile; nothing in the learner if the partition was lost meanwhile."""
        if profile.deleted:
            await self._river.erasures.request(
                self._river.outlet, profile.tenant, profile.user_id, state.partition, received_ms
            )
        learner = self._river.learner(profile.tenant)
        await self._show(profile)
        if not self._river.owns(state):
            return
        if profile.deleted:
            learner.forget_user(state.partition, profile.user_id)
            state.erased_since = True
            if self._river.on_forgotten is not None:
                key = user_key(profile.tenant, profile.user_id)
                self._river.on_forgotten(key, state.partition, offset)
            return
        learner.put_profile(
            state.partition, profile.user_id, profile.interests, profile.personalise
        )
        self._recommend.enqueue(state.partition, profile.tenant, [profile.user_id], [0])

    async def _show(self, profile: Profile) -> None:
        """Tell Redis, and wait for it where it is away."""
        store = self._river.store
        async for attempt in stamina.retry_context(
            on=store.transient_errors, attempts=None, timeout=None, wait_max=2.0
        ):
            with attempt:
                if profile.deleted:
                    await store.delete_user(profile.tenant, profile.user_id)
                else:
                    await store.write_profile(
                        profile.tenant,
                        profile.user_id,
                        personalise=profile.personalise,
                        interests=profile.interests,
                    )
