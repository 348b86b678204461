"""Status messages to systemd for services of ``Type=notify`` (sd_notify(3)). Elsewhere they do nothing."""

import os
import socket
import time

_ENVIRONMENT = "NOTIFY_SOCKET"


def notify(*lines: str) -> bool:
    """Send a message; return whether systemd received it. Never raises, so that the service goes on without a listener."""
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
    """Report a reload. By ``MONOTONIC_USEC`` a service of ``Type=notify-reload`` tells it from an older one."""
    notify("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}", "STATUS=Replacing the workers")


def stopping() -> None:
    notify("STOPPING=1", "STATUS=Draining")
