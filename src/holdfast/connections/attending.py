"""A connection's part in a topic's presence: the member it counts as, and the data that others see of that member."""

import time
from typing import Any

import msgspec
from django.utils.crypto import salted_hmac

from holdfast.protocol.frames import MemberPayload
from holdfast.roster.local import Attendance
from holdfast.threads.handler_context import HandlerInfo
from holdfast.threads.threads import Threads
from holdfast.topics.declaration import Mode
from holdfast.topics.encoding import encode_returned
from holdfast.topics.presence import Presence
from holdfast.topics.topic import Topic

from .caller import ConnectionCaller

META_BYTES = 1024
"""Greatest size of one member's metadata, as JSON. Each client that joins gets the metadata of all members."""


async def attending(
    threads: Threads, topic: Topic, caller: ConnectionCaller, presence: Presence, crowd: str | None = None
) -> Attendance:
    """Return the connection's part in the ``presence`` of a topic. Raises the exceptions of ``presence_meta``.

    Anonymous clients of one ``crowd`` are one member together: else a client could fill the list by opening connections.
    """
    if caller.user_id is None and not presence.anonymous:
        return Attendance(member=None, info=b"", limit=presence.list_limit)
    member = caller.user_id or anonymous_id(caller.client if crowd is None else f"crowd {crowd}")
    meta = await _meta(threads, topic, caller)
    info = msgspec.json.encode(MemberPayload(id=member, since=int(time.time()), meta=meta))
    return Attendance(member=member, info=info, limit=presence.list_limit)


def anonymous_id(client: str) -> str:
    """Return the id by which others see an anonymous client. The client's own id stays secret, because the idempotency keys
    of its calls depend on it."""
    return "~" + salted_hmac("holdfast.presence", client, algorithm="sha256").hexdigest()[:16]


async def _meta(threads: Threads, topic: Topic, caller: ConnectionCaller) -> msgspec.Raw | msgspec.UnsetType:
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
            f"{type(topic).__name__}.presence_meta returned {len(meta)} bytes of JSON for {user}; at most {META_BYTES} are "
            "allowed, because each client of the topic gets them. Return a key by which clients can fetch the rest."
        )
    return msgspec.Raw(meta)
