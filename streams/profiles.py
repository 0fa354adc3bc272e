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
        tenant, user = profile.tenant, profile.user_id
        if profile.deleted:
            await self._erase(profile, state, offset, received_ms)
            return
        await self._show(profile)
        if self._river.owns(state):
            # A null would take his new profile with it, and compaction takes the request.
            state.buried.pop(user_key(tenant, user).decode(), None)
            learner = self._river.learner(tenant)
            learner.put_profile(state.partition, user, profile.interests, profile.personalise)
            self._recommend.enqueue(state.partition, tenant, [user], [0])

    async def _erase(
        self, profile: Profile, state: PartitionState, offset: int, received_ms: int
    ) -> None:
        """Forget him before Redis does: else a list that is being made may come after that."""
        tenant, user = profile.tenant, profile.user_id
        await self._river.erasures.request(
            self._river.outlet, tenant, user, state.partition, received_ms
        )
        if self._river.owns(state):
            self._river.learner(tenant).forget_user(state.partition, user)
            self._recommend.forget(tenant, user)
            state.erased_since = True
        await self._show(profile)
        state.buried[user_key(tenant, user).decode()] = offset

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
