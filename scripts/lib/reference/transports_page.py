"""The table of transports, clients and servers, from what ``tests/asgi_servers`` runs."""

import runpy

from . import inventory

HEAD = """\
# Transports

Each way to listen, on each server, as the tests try it (`tests/asgi_servers/test_matrix.py`): a client hears an event, calls an action,
goes away, and comes back to hear in order and once what it missed. History pages are read there by `test_history.py`. [Choose a
transport](../how-to/choose-a-transport.md) says which to take, and [Choose and run a server](../how-to/servers.md#comparison) in what the
servers differ.

"""

TAIL = """
"Without adoption" is `holdfast.server` behind ASGI middleware that changes responses or messages: connections then take the same way as
on the other servers. Calls go over the WebSocket, and by `POST /live/call` for the other transports.
"""


def text() -> str:
    tested = runpy.run_path(str(inventory.ROOT / "tests" / "asgi_servers" / "ways.py"))
    columns = [f"{way.transport}: {way.client}" for way in tested["WAYS"]]
    lines = [f"| | {' | '.join(columns)} |", "|---" * (len(columns) + 1) + "|"]
    lines += [f"| {name} | {' | '.join(['tested'] * len(columns))} |" for name in tested["NAMES"].values()]
    return HEAD + "\n".join(lines) + "\n" + TAIL
