"""Publishing by services that are not Django: checks a request, and publishes all of its events or none."""

import asyncio
import hashlib
from collections.abc import Sequence
from functools import partial
from itertools import islice
from typing import Annotated, Any

import msgspec
from django.db import transaction
from msgspec import Meta

from holdfast.auth.publishing_key import PublishingKey
from holdfast.log.calls import Answer, CallStore, Claim
from holdfast.protocol import codes
from holdfast.protocol.frames import CallKey, Name, TopicName
from holdfast.protocol.server_protocol import RETRY_SECONDS
from holdfast.runtime import Runtime
from holdfast.topics.batch import publish
from holdfast.topics.event import Event
from holdfast.topics.registry import Registry
from holdfast.topics.topic import Topic

from .claims import claim_inside, pauses
from .request import CallFailed

EVENTS_AT_ONCE = 1000
"""Events in one request."""

CLAIM_SECONDS = 60.0
ATTEMPTS = 60
"""Looks at another request with the same key, half a second apart, before this one is answered with ``unavailable``."""

Pairs = Sequence[tuple[Topic, Event]]


class PostedEvent(msgspec.Struct, frozen=True, kw_only=True):
    """One event of a request. ``version`` is the one that the service wrote, the first unless it says otherwise."""

    topic: TopicName
    name: Name
    version: Annotated[int, Meta(ge=1)] = 1
    payload: msgspec.Raw = msgspec.Raw(b"{}")


class Publication(msgspec.Struct, frozen=True, kw_only=True):
    """The body of a request. With a ``key`` the events are published once, however often the request is sent."""

    events: Annotated[tuple[PostedEvent, ...], Meta(min_length=1, max_length=EVENTS_AT_ONCE)]
    key: CallKey | None = None


_decode = msgspec.json.Decoder(Publication).decode


def checked(registry: Registry, key: PublishingKey, body: bytes) -> tuple[Publication, Pairs]:
    """Return what a body asks for, with its events checked. Raises :class:`CallFailed`, which names the event and the reason."""
    try:
        publication = _decode(body)
    except msgspec.ValidationError as error:
        raise CallFailed.of(codes.INVALID_MESSAGE, detail=str(error)) from None
    except (UnicodeError, RecursionError, msgspec.MsgspecError) as error:
        raise CallFailed.of(codes.MALFORMED, detail=str(error)) from None
    pairs = [
        _event(registry, key, posted, f"events[{index}]") for index, posted in enumerate(publication.events)
    ]
    return publication, pairs


def _event(registry: Registry, key: PublishingKey, posted: PostedEvent, where: str) -> tuple[Topic, Event]:
    topic = registry.by_name(posted.topic)
    if topic is None or not key.allows(topic.name):
        raise CallFailed.of(codes.FORBIDDEN, detail=f"{where}.topic: {posted.topic!r}")
    event = topic.declared.events.get(posted.name)
    if event is None:
        known = ", ".join(topic.declared.events) or "none"
        raise CallFailed.of(
            codes.INVALID_PAYLOAD,
            detail=f"{where}.name: {posted.topic} has no event {posted.name!r}; known: {known}",
        )
    try:
        payload, versions = bytes(posted.payload), topic.declared.versions
        if versions is None or event.__version__ == posted.version:
            return topic, event.decode(payload)
        return topic, versions.event(posted.name, posted.version, payload)
    except (TypeError, ValueError, msgspec.MsgspecError, RecursionError) as error:
        raise CallFailed.of(codes.INVALID_PAYLOAD, detail=f"{where}.payload: {error}") from None


async def publish_posted(
    runtime: Runtime, key: PublishingKey, publication: Publication, pairs: Pairs, body: bytes
) -> dict[str, str]:
    """Publish, unless a request with the same key has.

    Return, for each durable topic, a position at or after these events. On return durable events are safe. Raises
    :class:`CallFailed` if the key belongs to another request, and what the log raises.
    """
    target = f"publish {hashlib.sha256(body).hexdigest()}"
    for pause in islice(pauses(), ATTEMPTS):
        found = await runtime.threads.run(_attempt, runtime, key.owner, publication.key, pairs, target)
        if not isinstance(found, Claim):
            return found
        if found.reused:
            raise CallFailed.of(codes.KEY_REUSED)
        if found.lost:
            raise CallFailed.of(codes.OUTCOME_UNKNOWN)
        await asyncio.sleep(pause)
    raise CallFailed.of(codes.UNAVAILABLE, retry_after=RETRY_SECONDS)


def _attempt(
    runtime: Runtime, owner: str, key: str | None, pairs: Pairs, target: str
) -> dict[str, str] | Claim:
    """Publish and record that under the key, in one transaction. Return the positions, also if another request has published; or
    the claim of one that has not ended. Blocks; for a worker thread."""
    if key is None:
        publish(pairs)
    else:
        claim = _publish_under(runtime.log.calls, owner, key, pairs, target)
        if not claim.mine and claim.answer is None:
            return claim
    durable = {topic.name for topic, _ in pairs if topic.declared.durable}
    heads = runtime.log.heads(durable) if durable else {}
    return {topic: str(head.position) for topic, head in heads.items()}


def _publish_under(store: CallStore, owner: str, key: str, pairs: Pairs, target: str) -> Claim:
    with transaction.atomic(using=store.alias):
        claim = claim_inside(store, partial(store.claim, owner, key, target, seconds=CLAIM_SECONDS))
        if claim.mine:
            publish(pairs)
            store.answer(owner, key, Answer(payload=b"true"))
    return claim


def positions_json(positions: dict[str, str]) -> bytes:
    """Return the body of the answer."""
    answer: dict[str, Any] = {"positions": positions}
    return msgspec.json.encode(answer)
