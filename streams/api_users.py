"""PUT and DELETE /v1/users/{id}: Redis first, so that it holds at once; then users.v1."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.requests import Request
from starlette.responses import Response

from infra.serving import ProfileFlags
from streams import topics
from streams.api_answers import Deleted, ProfileChange, ProfileNow, answer
from streams.api_request import body, path_id
from streams.events import Profile, encode, user_key
from streams.outlet import Outgoing

if TYPE_CHECKING:
    from streams.api_parts import Api


async def put_profile(api: Api, request: Request, tenant: str) -> Response:
    """PUT /v1/users/{id}"""
    user = path_id(request)
    change = await body(request, ProfileChange)
    flags = await api.store.change_profile(tenant, user, lambda before: _changed(before, change))
    profile = Profile(
        user_id=user,
        tenant=tenant,
        interests=flags.interests,
        level=change.level,
        personalise=flags.personalise,
    )
    await api.to_kafka([_record(profile)])
    return answer(ProfileNow(user, profile.interests, profile.personalise))


async def delete_user(api: Api, request: Request, tenant: str) -> Response:
    """DELETE /v1/users/{id}"""
    user = path_id(request)
    await api.recorder.flush()  # lists that he was shown go before the request, not after it
    await api.store.delete_user(tenant, user)
    await api.to_kafka([_record(Profile(user_id=user, tenant=tenant, deleted=True))])
    return answer(Deleted(user, True), 202)


def _changed(before: ProfileFlags, change: ProfileChange) -> ProfileFlags:
    return ProfileFlags(
        personalise=before.personalise if change.personalise is None else change.personalise,
        interests=before.interests if change.interests is None else change.interests,
    )


def _record(profile: Profile) -> Outgoing:
    return Outgoing(topics.USERS, user_key(profile.tenant, profile.user_id), encode(profile))
