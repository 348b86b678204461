"""The Python client for code without an event loop: scripts, tests, threads.

::

    from holdfast.client.blocking import connect

    with connect("ws://localhost:8000/live/ws") as live:
        room = live.join("rooms/lobby")
        room.call("post", body="hi")
        for event in room:
            print(event.name, event.payload)

The connection lives on an event loop in a thread of its own. A client may be used from one thread only.
"""

import asyncio
import threading
from collections.abc import AsyncIterator, Coroutine, Iterator
from types import TracebackType
from typing import Any, Self, TypeVar

from holdfast.protocol.frames import MemberPayload
from holdfast.protocol.positions import Position

from .backoff import Backoff
from .live import RemoteLive, Token
from .live import connect as connect_async
from .remote_topic import RemoteEvent, RemoteReset, RemoteTopic

T = TypeVar("T")


def connect(
    url: str,
    *,
    token: Token = None,
    headers: dict[str, str] | None = None,
    origin: str | None = None,
    client: str | None = None,
    backoff: Backoff | None = None,
    socket_options: dict[str, Any] | None = None,
) -> "BlockingLive":
    """Return a client, for ``with``. The arguments are those of :func:`holdfast.client.connect`."""
    return BlockingLive(
        url,
        token=token,
        headers=headers,
        origin=origin,
        client=client,
        backoff=backoff,
        socket_options=socket_options,
    )


class BlockingLive:
    """A client whose methods block."""

    def __init__(self, url: str, **options: Any) -> None:
        self._url = url
        self._options = options
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="holdfast-client", daemon=True)
        self._live: RemoteLive

    def __enter__(self) -> Self:
        self._thread.start()
        try:
            self._live = connect_async(self._url, **self._options)
            self.run(self._live.__aenter__())
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.run(self._live.__aexit__(None, None, None))
        finally:
            self._end()

    def _end(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine on the client's loop, and return its result."""
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def join(self, topic: str, *, since: Position | str | None = None) -> "BlockingTopic":
        """Join a topic (:meth:`RemoteLive.join`)."""
        return BlockingTopic(self, self.run(self._live.join(topic, since=since)))


class BlockingTopic:
    """A joined topic. Iterate over it for its events."""

    def __init__(self, live: BlockingLive, topic: RemoteTopic) -> None:
        self._live = live
        self._topic = topic

    @property
    def position(self) -> Position | None:
        """How far the client has read."""
        return self._topic.position

    @property
    def snapshot(self) -> Any:
        """The state that came with the last join, if the topic gives one."""
        return self._topic.snapshot

    @property
    def members(self) -> dict[str, MemberPayload] | None:
        """Who is here, by id."""
        return self._topic.members

    def call(
        self, name: str, /, *, key: str | None = None, timeout: float | None = None, **arguments: Any
    ) -> Any:
        """Call an action (:meth:`RemoteTopic.call`)."""
        return self._live.run(self._topic.call(name, key=key, timeout=timeout, **arguments))

    def leave(self) -> None:
        """Leave the topic."""
        self._live.run(self._topic.leave())

    def __iter__(self) -> Iterator[RemoteEvent | RemoteReset]:
        items: AsyncIterator[RemoteEvent | RemoteReset] = self._topic.__aiter__()
        while True:
            try:
                yield self._live.run(_next(items))
            except StopAsyncIteration:
                return


async def _next(items: AsyncIterator[T]) -> T:
    return await anext(items)
