"""Live clients for tests of your topics. They run inside the test's own process.

There is no server, no socket and no mock: a client has a real connection to a real hub, and their messages are encoded and
decoded as on the wire. The log is the project's own, on the test's database::

    from holdfast.testing import CallError, LiveClient

    class ChatTests(TestCase):
        def test_members_see_what_is_said(self):
            with LiveClient(self.ada) as ada, LiveClient(self.grace) as grace:
                ada.join("rooms/lobby")
                grace.join("rooms/lobby")
                ada.call("rooms/lobby", "post", body="hi")
                grace.expect("message.posted", author="ada", body="hi")

``LiveClient`` is for ``def`` tests. ``AsyncLiveClient`` has the same methods, awaited, for ``async def`` tests. All
clients of one test share an environment, ``Live`` or ``AsyncLive``. If the test has made none, the first client makes it
and the last client ends it. Tests with a browser need a server: ``LiveServerTestCase``. With pytest,
``pytest_plugins = ["holdfast.testing.pytest"]`` adds the fixtures ``live``, ``async_live`` and ``live_site``.
"""

# May import every other package of Holdfast; none imports this one. Names are imported on first use, so that a pytest plugin
# may import this package before Django is set up.

from importlib import import_module
from typing import TYPE_CHECKING, Any

from holdfast.public_names import not_in

if TYPE_CHECKING:
    from holdfast.testing.asynchronous import AsyncLive, AsyncLiveClient
    from holdfast.testing.errors import CallError, Disconnected, JoinError, LiveError
    from holdfast.testing.live_server import LiveServerTestCase
    from holdfast.testing.sync import Live, LiveClient
    from holdfast.testing.values import JoinAnswer, Received, ResetNotice

#: Public name: the module that defines it. What stands here stands in `__all__` and under TYPE_CHECKING too.
_DEFINED_IN: dict[str, str] = {
    "AsyncLive": "holdfast.testing.asynchronous",
    "AsyncLiveClient": "holdfast.testing.asynchronous",
    "CallError": "holdfast.testing.errors",
    "Disconnected": "holdfast.testing.errors",
    "JoinError": "holdfast.testing.errors",
    "JoinAnswer": "holdfast.testing.values",
    "Live": "holdfast.testing.sync",
    "LiveClient": "holdfast.testing.sync",
    "LiveError": "holdfast.testing.errors",
    "LiveServerTestCase": "holdfast.testing.live_server",
    "Received": "holdfast.testing.values",
    "ResetNotice": "holdfast.testing.values",
}

__all__ = [
    "AsyncLive",
    "AsyncLiveClient",
    "CallError",
    "Disconnected",
    "JoinAnswer",
    "JoinError",
    "Live",
    "LiveClient",
    "LiveError",
    "LiveServerTestCase",
    "Received",
    "ResetNotice",
]


if not TYPE_CHECKING:  # type checkers would take it for a module that has every name

    def __getattr__(name: str) -> Any:
        if name not in _DEFINED_IN:
            raise not_in(__name__, name)
        value = globals()[name] = getattr(import_module(_DEFINED_IN[name]), name)
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
