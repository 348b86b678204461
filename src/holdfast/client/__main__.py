"""Command line of the Python client.

::

    python -m holdfast.client join ws://localhost:8000/live/ws rooms/lobby
    python -m holdfast.client call ws://localhost:8000/live/ws rooms/lobby post '{"body": "hi"}'

``join`` prints each event as a line of JSON until it is interrupted; ``call`` prints the result. The token comes from the environment,
so that it stands in no process list: ``HOLDFAST_TOKEN``.
"""

import argparse
import asyncio
import os
import sys
from collections.abc import Sequence
from typing import Any

import msgspec

from .errors import ClientError
from .live import RemoteLive, connect
from .remote_topic import RemoteEvent


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command. Return the exit code: 0, 1 if the server refused, 2 for wrong arguments."""
    parser = argparse.ArgumentParser(
        prog="python -m holdfast.client", description="Talk to a Holdfast server."
    )
    parser.add_argument("--origin", help="the site's origin, needed together with a cookie")
    parser.add_argument(
        "--header", action="append", default=[], metavar="NAME:VALUE", help="a header of the handshake"
    )
    commands = parser.add_subparsers(dest="command", required=True)
    join = commands.add_parser("join", help="print the events of topics as lines of JSON")
    join.add_argument("url")
    join.add_argument("topic", nargs="+")
    join.add_argument("--since", help='begin after this position, such as "k3:41.7"; with one topic')
    join.add_argument("--count", type=int, help="stop after so many events")
    call = commands.add_parser("call", help="call an action, and print its result")
    call.add_argument("url")
    call.add_argument("topic")
    call.add_argument("name")
    call.add_argument("payload", nargs="?", default="{}", help="the arguments, as a JSON object")
    call.add_argument("--key", help="the key under which the call is carried out once")
    call.add_argument("--timeout", type=float, default=30.0)
    options = parser.parse_args(arguments)
    try:
        return asyncio.run(_join(options) if options.command == "join" else _call(options))
    except ClientError as error:
        print(error, file=sys.stderr)  # noqa: T201 - a command
        return 1
    except (ValueError, msgspec.MsgspecError) as error:
        print(error, file=sys.stderr)  # noqa: T201
        return 2
    except KeyboardInterrupt:
        return 0


def _connect(options: argparse.Namespace) -> RemoteLive:
    headers = dict(header.split(":", 1) for header in options.header)
    return connect(
        options.url,
        token=os.environ.get("HOLDFAST_TOKEN"),
        headers={name.strip(): value.strip() for name, value in headers.items()},
        origin=options.origin,
    )


async def _join(options: argparse.Namespace) -> int:
    if options.since and len(options.topic) > 1:
        raise ValueError("--since is the position of one topic; name only one")
    left = options.count
    done = asyncio.Event()

    async def follow(topic: Any) -> None:
        nonlocal left
        async for item in topic:
            kind = "event" if isinstance(item, RemoteEvent) else "reset"
            line = {"type": kind, **msgspec.structs.asdict(item)}
            if isinstance(item, RemoteEvent):
                line["position"] = None if item.position is None else str(item.position)
            print(msgspec.json.encode(line).decode(), flush=True)  # noqa: T201
            if left is not None and kind == "event":
                left -= 1
                if left <= 0:
                    done.set()
                    return

    async with _connect(options) as live:
        topics = [await live.join(topic, since=options.since) for topic in options.topic]
        followers = [asyncio.create_task(follow(topic)) for topic in topics]
        waiting = [asyncio.create_task(done.wait()), *followers]
        ended, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        for task in ended:
            task.result()
    return 0


async def _call(options: argparse.Namespace) -> int:
    payload = msgspec.json.decode(options.payload, type=dict[str, Any])
    async with _connect(options) as live:
        topic = await live.join(options.topic)
        result = await topic.call(options.name, key=options.key, timeout=options.timeout, **payload)
        print(msgspec.json.encode(result).decode())  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main())
