"""The page of the codes, from the catalogue in `protocol/codes.py` and the browser client's own."""

from typing import Any

from . import inventory

HEAD = """\
# Error and close codes

A code is what a client is told when something goes wrong: in an `error` answer, in `left`, in `goodbye`, or as the close
code of the WebSocket. The browser client passes it on as `error.code`. The messages are for developers, not for users,
and never say what happened inside the server; the [server's log](../errors.md#while-running-in-the-servers-log) does.

"Try again" says whether the same request may succeed later without being changed (`error.retry` in the browser client).
The [protocol](../protocol.md#4-codes) says where each may appear.

## Answers

These never end a connection by themselves.

| code | message | try again |
|---|---|---|
"""

COMING_BACK = """
## Closes after which a client comes back

The browser client does so by itself, with backoff and from the positions that it remembers. 1000, 1001, 1006 and other close
codes that do not come from Holdfast mean the same.

| close | code | message |
|---|---|---|
"""

FINAL = """
## Final closes

The browser client's status becomes `closed`, and it does not come back until the page calls `live.reconnect()` or is
loaded again. The standard codes 1002, 1003, 1007 and 1008 are final too.

| close | code | message |
|---|---|---|
"""

LOCAL = """
## Codes of the browser client

The client finds these itself; they never cross the wire.

| code | message |
|---|---|
"""


def text() -> str:
    codes = inventory.codes()
    answers = [code for code in codes if code.close is None]
    return "".join(
        [
            HEAD,
            *(_row(_anchored(code.name), code.message, "yes" if code.retry else "no") for code in answers),
            COMING_BACK,
            *(_close(code) for code in codes if code.close is not None and code.retry),
            "\nA server also gives `unavailable` as an answer, to a join or a call that may succeed in a moment.\n",
            FINAL,
            *(_close(code) for code in codes if code.close is not None and not code.retry),
            LOCAL,
            *(_row(_anchored(name), message) for name, message in inventory.local_codes().items()),
        ]
    )


def _close(code: Any) -> str:
    return _row(str(code.close), _anchored(code.name), code.message)


def _anchored(name: str) -> str:
    """The name, as a place that links can lead to."""
    return f"`{name}`{{ #{name} }}"


def _row(*cells: str) -> str:
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |\n"
