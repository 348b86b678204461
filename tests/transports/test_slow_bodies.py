"""Requests whose bodies are sent slowly: one address can keep only so many on their way."""

import asyncio
import time
from typing import Any

import pytest

from holdfast.auth.publishing_key import PublishingKey
from holdfast.protocol import codes
from holdfast.transports.http_calls import LiveCalls
from holdfast.transports.http_publish import LivePublishing
from tests.support.clock import in_jumping_time
from tests.support.connected import fleet
from tests.support.handshakes import boundary

ADDRESS = "203.0.113.7"
ENDS = ["the body is complete", "it is late", "the client is gone"]


class Caller:
    """A client that has sent the head of a request, and sends the body on request."""

    def __init__(
        self,
        endpoint: LiveCalls | LivePublishing,
        address: str,
        headers: tuple[tuple[bytes, bytes], ...] = (),
    ) -> None:
        self.sent: list[Any] = []
        self._parts: asyncio.Queue[Any] = asyncio.Queue()
        scope = {
            "type": "http",
            "method": "POST",
            "client": (address, 1),
            "headers": [*headers],
            "query_string": b"",
        }
        self.task = asyncio.create_task(endpoint(scope, self._parts.get, self._send))

    async def _send(self, message: Any) -> None:
        self.sent.append(message)

    def send_part(self, *, more: bool) -> None:
        self._parts.put_nowait({"type": "http.request", "body": b"{", "more_body": more})

    async def end(self, end: str) -> None:
        """End the request in one of the ways of :data:`ENDS`."""
        if end == "the body is complete":
            self.send_part(more=False)
        elif end == "it is late":
            await asyncio.sleep(11)
        else:
            self._parts.put_nowait({"type": "http.disconnect"})
        await self.task

    @property
    def status(self) -> int | None:
        return next((message["status"] for message in self.sent if "status" in message), None)

    @property
    def body(self) -> bytes:
        return b"".join(message.get("body", b"") for message in self.sent)


async def caller(
    endpoint: LiveCalls | LivePublishing, address: str = ADDRESS, *headers: tuple[bytes, bytes]
) -> Caller:
    made = Caller(endpoint, address, headers)
    made.send_part(more=True)
    for _ in range(3):
        await asyncio.sleep(0)
    return made


@in_jumping_time
@pytest.mark.parametrize("end", ENDS)
async def test_an_address_has_as_many_bodies_on_their_way_as_unfinished_calls(end: str) -> None:
    async with fleet() as here:
        service = here.processes[0].service
        service.boundary = boundary(bodies_per_address=2)
        endpoint = LiveCalls(lambda: service)
        first, second = await caller(endpoint), await caller(endpoint)

        third, other = await caller(endpoint), await caller(endpoint, "203.0.113.8")

        assert third.status == 429
        assert codes.TOO_MANY_CALLS.name.encode() in third.body
        assert (first.status, second.status, other.status) == (None, None, None)

        await first.end(end)
        assert (await caller(endpoint)).status is None

        for each in (second, other):
            each.task.cancel()


@in_jumping_time
async def test_an_exempt_address_has_no_bound_on_bodies() -> None:
    async with fleet() as here:
        service = here.processes[0].service
        service.boundary = boundary(bodies_per_address=1)
        endpoint = LiveCalls(lambda: service)

        callers = [await caller(endpoint, "10.0.0.1") for _ in range(3)]

        assert [each.status for each in callers] == [None] * 3
        for each in callers:
            each.task.cancel()


@in_jumping_time
@pytest.mark.parametrize("end", ENDS)
async def test_an_address_has_few_signed_bodies_on_their_way(end: str) -> None:
    async with fleet() as here:
        service = here.processes[0].service
        service.boundary = boundary(signed_bodies_per_address=2)
        signed = PublishingKey(name="signed", keys=("s" * 32,), topics=("rooms/*",), signed=True)
        plain = PublishingKey(name="plain", keys=("p" * 32,), topics=("rooms/*",))
        endpoint = LivePublishing(lambda: service, lambda: [signed, plain])
        forged = (
            (b"holdfast-key", b"signed"),
            (b"holdfast-signature", b"t=%d,v1=%s" % (time.time(), b"0" * 64)),
        )
        first, second = [await caller(endpoint, ADDRESS, *forged) for _ in range(2)]

        third = await caller(endpoint, ADDRESS, *forged)
        other = await caller(endpoint, "203.0.113.8", *forged)
        known = await caller(endpoint, ADDRESS, (b"authorization", b"Bearer " + b"p" * 32))

        assert third.status == 429
        assert codes.RATE_LIMITED.name.encode() in third.body
        assert (first.status, second.status, other.status, known.status) == (None, None, None, None)

        await first.end(end)
        assert (await caller(endpoint, ADDRESS, *forged)).status is None

        for each in (second, other, known):
            each.task.cancel()
