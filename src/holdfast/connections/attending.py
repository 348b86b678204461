"""How a connection takes part in a topic's presence: who it counts as, and what others are told of that member."""

import time
from typing import Any

import msgspec
from django.utils.crypto import salted_hmac

from holdfast.protocol.frames import Member
from holdfast.roster.local import Attendance
from holdfast.threads.handler_context import HandlerInfo
from holdfast.threads.threads import Threads
from holdfast.topics.declaration import Mode
from holdfast.topics.encoding import encode_returned
from holdfast.topics.topic import Topic

from .caller import Caller

META_BYTES = 1024
"""The most that may be told of one member, as JSON: everybody who joins is told it of everybody."""


async def attending(threads: Threads, topic: Topic, caller: Caller) -> Attendance | None:
    """``None`` for a topic without presence. An error in ``presence_meta`` is its author's, and is raised."""
    presence = topic.declared.presence
    if presence is None:
        return None
    if caller.user_id is None and not presence.anonymous:
        return Attendance(member=None, info=b"", limit=presence.list_limit)
    member = caller.user_id or anonymous_id(caller.client)
    meta = await _meta(threads, topic, caller)
    info = msgspec.json.encode(Member(id=member, since=int(time.time()), meta=meta))
    return Attendance(member=member, info=info, limit=presence.list_limit)


def anonymous_id(client: str) -> str:
    """What others may know an anonymous client by. The client's own id is its alone: its calls' keys go by it."""
    return "~" + salted_hmac("holdfast.presence", client, algorithm="sha256").hexdigest()[:16]


async def _meta(threads: Threads, topic: Topic, caller: Caller) -> msgspec.Raw | msgspec.UnsetType:
    teller: Any = topic
    user, info = caller.user, HandlerInfo(host=caller.identity.host, topic=topic)
    mode = topic.declared.presence_meta
    if mode is None:
        return msgspec.UNSET
    if mode is Mode.LOOP:
        found = await threads.handle_async(info, teller.presence_meta, user)
    else:
        found = await threads.handle(info, teller.presence_meta, user)
    meta = encode_returned(f"{type(topic).__name__}.presence_meta", found)
    if len(meta) > META_BYTES:
        raise ValueError(
            f"{type(topic).__name__}.presence_meta returned {len(meta)} bytes of JSON for {user}, and it may be {META_BYTES}: "
            "everybody in the topic gets them; tell a key by which clients can fetch the rest"
        )
    return msgspec.Raw(meta)
