"""Publishing by services that are not Django, at ``/live/publish``. Off until ``HOLDFAST["PUBLISHING_KEYS"]`` names a key.

::

    POST /live/publish
    Authorization: Bearer <secret>

    {"key": "invoice-4711", "events": [{"topic": "orders/7", "name": "order.paid", "payload": {"id": 7}}]}

    202 {"positions": {"orders/7": "k3:58.12"}}
"""

import asyncio
import time
from collections.abc import Callable, Sequence

from holdfast.auth.publishing_key import OfferedKey, PublishingKey, offered_key
from holdfast.connections.manager import ConnectionManager
from holdfast.connections.publishing import checked, positions_json, publish_posted
from holdfast.connections.request import CallFailed
from holdfast.log.base import LogError
from holdfast.protocol import codes

from .asgi import Receive, Scope, Send
from .handshake import Handshake
from .http_errors import fail, payload_of
from .request_body import body_of
from .responses import respond, respond_json

BODY_BYTES = 4 * 1024 * 1024
"""Greatest size of a request. Each event is also bound by ``EVENT_BYTES``."""

RETRY_SECONDS = 1.0
"""Seconds after which a service may try again whose address has too many signed bodies on their way."""


class LivePublishing:
    """The ASGI application behind ``/live/publish``. ``keys`` is called at each request: settings may change in tests."""

    def __init__(
        self, service: Callable[[], ConnectionManager], keys: Callable[[], Sequence[PublishingKey]]
    ) -> None:
        self._service = service
        self._keys = keys

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        keys = self._keys()
        if not keys:
            await respond(scope, send, 404, "Not found.\n")
            return
        if scope["method"] != "POST":
            await respond(scope, send, 405, "Events are published by POST.\n", (b"allow", b"POST"))
            return
        handshake, boundary = Handshake(scope, send, "publish"), self._service().boundary
        now = asyncio.get_running_loop().time()
        if wait := boundary.token_wait(handshake.network, now):
            handshake.report_limit("failed_tokens", wait)
            await fail(send, payload_of(codes.RATE_LIMITED, retry_after=wait))
            return
        # Before the body: a stranger's megabytes are not read.
        offered = offered_key(keys, scope["headers"], time.time())
        body = None if offered is None else await self._body(handshake, offered, receive)
        if offered is not None and body is None:
            return
        if offered is None or body is None or not offered.proves(body):
            boundary.token_failed(handshake.network, now)
            why = "The key is missing or wrong.\n"
            await respond(scope, send, 401, why, (b"www-authenticate", b"Bearer"))
            return
        try:
            answer = await self._publish(offered.key, body)
        except CallFailed as failed:
            await fail(send, failed.payload)
        else:
            await respond_json(send, 202, answer)

    async def _body(self, handshake: Handshake, offered: OfferedKey, receive: Receive) -> bytes | None:
        """Return the body. ``None``: the request was refused. A signature needs no secret to look like one, so an address may have
        only a few bodies on their way that are yet to prove theirs."""
        scope, send = handshake.scope, handshake.send
        if not offered.signature:
            return await body_of(scope, receive, send, BODY_BYTES)
        network, boundary = handshake.network, self._service().boundary
        if not boundary.begin_body(network, signed=True):
            handshake.report_limit("signed_bodies", RETRY_SECONDS)
            await fail(send, payload_of(codes.RATE_LIMITED, retry_after=RETRY_SECONDS))
            return None
        try:
            return await body_of(scope, receive, send, BODY_BYTES)
        finally:
            boundary.end_body(network, signed=True)

    async def _publish(self, key: PublishingKey, body: bytes) -> bytes:
        service = self._service()
        wait = service.limiter.take(("publish", key.name), key.per, asyncio.get_running_loop().time())
        seconds = wait if isinstance(wait, float | int) else await wait
        if seconds:
            raise CallFailed.of(codes.RATE_LIMITED, retry_after=seconds)
        publication, pairs = checked(service.registry, key, body)
        try:
            positions = await publish_posted(service.runtime, key, publication, pairs, body)
        except ValueError as error:  # larger than EVENT_BYTES
            raise CallFailed.of(codes.TOO_LARGE, detail=str(error)) from None
        except LogError:
            raise CallFailed.of(codes.UNAVAILABLE, retry_after=1.0) from None
        return positions_json(positions)
