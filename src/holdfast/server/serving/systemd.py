"""Telling systemd how the service is doing, where ``Type=notify`` asks for it (sd_notify(3)). Elsewhere nothing happens."""

import os
import socket
import time

_ENVIRONMENT = "NOTIFY_SOCKET"


def notify(*lines: str) -> bool:
    """Send a message; say whether anybody wanted it. Never raises: a service does not end for want of a listener."""
    address = os.environ.get(_ENVIRONMENT, "")
    if address[:1] not in ("/", "@") or not hasattr(socket, "AF_UNIX"):
        return False
    if address.startswith("@"):
        address = "\0" + address[1:]  # in the abstract namespace
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as line:
            line.connect(address)
            line.sendall("\n".join(lines).encode())
    except OSError:
        return False
    return True


def ready(status: str) -> None:
    notify("READY=1", f"STATUS={status}")


def reloading() -> None:
    """``MONOTONIC_USEC`` is what ``Type=notify-reload`` tells this reload from an older one by."""
    notify("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}", "STATUS=Replacing the workers")


def stopping() -> None:
    notify("STOPPING=1", "STATUS=Draining")
