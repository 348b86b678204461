"""Processes whose threads are greenlets, because gevent or eventlet has patched Python's standard library."""

import sys


def patched_by() -> str | None:
    """The name of the library that has put greenlets in the place of threads in this process; ``None`` if none has."""
    gevent = sys.modules.get("gevent.monkey")
    if gevent is not None and gevent.is_module_patched("threading"):
        return "gevent"
    eventlet = sys.modules.get("eventlet.patcher")
    if eventlet is not None and eventlet.is_monkey_patched("thread"):
        return "eventlet"
    return None
