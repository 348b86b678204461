"""Python client: joins topics and calls actions of any Holdfast server, from scripts, services and tests. Needs no Django.

::

    from holdfast.client import connect

    async with connect("wss://example.com/live/ws", token="…") as live:
        room = await live.join("rooms/lobby")
        await room.call("post", body="hi")
        async for event in room:
            print(event.name, event.payload)

The connection comes back by itself, with backoff, and goes on where it was: each event of a durable topic arrives once and in order,
and each call is carried out once. :mod:`holdfast.client.blocking` is the same for code without an event loop, and
``python -m holdfast.client`` the same for a shell.
"""

# This package imports protocol, and nothing else of Holdfast.

from .errors import ClientError
from .live import RemoteLive, connect
from .remote_topic import RemoteEvent, RemoteReset, RemoteTopic

__all__ = ["ClientError", "RemoteEvent", "RemoteLive", "RemoteReset", "RemoteTopic", "connect"]
