"""Publishing by services that are not Django: checks a request, and publishes all of its events or none."""

import hashlib
import time
from collections.abc import Sequence
from itertools import chain, repeat
from typing import Annotated, Any

import msgspec
from django.db import DatabaseError, transaction
from msgspec import Meta

from holdfast.auth.publishing_key import PublishingKey
from holdfast.log.calls import Answer, CallStore, Claim
from holdfast.protocol import codes
from holdfast.protocol.frames import CallKey, Name, TopicName
from holdfast.runtime import Runtime
from holdfast.topics.batch import publish
from holdfast.topics.event import Event
from holdfast.topics.registry import Registry
from holdfast.topics.topic import Topic

from .request import CallFailed

EVENTS_AT_ONCE = 1000
"""Events in one request."""

CLAIM_SECONDS = 60.0
PAUSES = (0.02, 0.05, 0.1, 0.2, 0.5)

Pairs = Sequence[tuple[Topic, Event]]


class PostedEvent(msgspec.Struct, frozen=True, kw_only=True):
    """One event of a request."""

    topic: TopicName
    name: Name
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
    topic = registry.by_name(posted.topic) if key.allows(posted.topic) else None
    if topic is None:
        raise CallFailed.of(codes.FORBIDDEN, detail=f"{where}.topic: {posted.topic!r}")
    event = topic.declared.events.get(posted.name)
    if event is None:
        known = ", ".join(topic.declared.events) or "none"
        raise CallFailed.of(
            codes.INVALID_PAYLOAD,
            detail=f"{where}.name: {posted.topic} has no event {posted.name!r}; known: {known}",
        )
    try:
        return topic, event.decode(bytes(posted.payload))
    except (TypeError, ValueError, msgspec.MsgspecError, RecursionError) as error:
        raise CallFailed.of(codes.INVALID_PAYLOAD, detail=f"{where}.payload: {error}") from None


def publish_once(
    runtime: Runtime, key: PublishingKey, publication: Publication, pairs: Pairs, body: bytes
) -> dict[str, str]:
    """Publish, unless a request with the same key has. Blocks; for a worker thread.

    Return, for each durable topic, a position at or after these events. On return durable events are safe. Raises
    :class:`CallFailed` if the key belongs to another request, and what the log raises.
    """
    store = runtime.log.calls
    if publication.key is None:
        publish(pairs)
    else:
        _under_key(store, key.owner, publication.key, pairs, _target(body))
    durable = {topic.name for topic, _ in pairs if topic.declared.durable}
    heads = runtime.log.heads(durable) if durable else {}
    return {topic: str(head.position) for topic, head in heads.items()}


def _target(body: bytes) -> str:
    """Return the text that tells one request from another under the same key."""
    return f"publish {hashlib.sha256(body).hexdigest()}"


def _under_key(store: CallStore, owner: str, key: str, pairs: Pairs, target: str) -> None:
    """Publish and record that under the key, in one transaction. Return also if another request has done it."""
    for pause in chain(PAUSES, repeat(PAUSES[-1], 60)):
        claim = _attempt(store, owner, key, pairs, target)
        if claim.mine or claim.answer is not None:
            return
        if claim.reused:
            raise CallFailed.of(codes.KEY_REUSED)
        if claim.lost:
            raise CallFailed.of(codes.OUTCOME_UNKNOWN)
        time.sleep(pause)
    raise CallFailed.of(codes.UNAVAILABLE, retry_after=1.0)


def _attempt(store: CallStore, owner: str, key: str, pairs: Pairs, target: str) -> Claim:
    with transaction.atomic(using=store.alias):
        try:
            claim = store.claim(owner, key, target, seconds=CLAIM_SECONDS)
        except DatabaseError as error:
            if not store.conflict(error):
                raise
            transaction.set_rollback(True, using=store.alias)
            return Claim(running=True)
        if claim.mine:
            publish(pairs)
            store.answer(owner, key, Answer(payload=b"true"))
    return claim


def positions_json(positions: dict[str, str]) -> bytes:
    """Return the body of the answer."""
    answer: dict[str, Any] = {"positions": positions}
    return msgspec.json.encode(answer)
