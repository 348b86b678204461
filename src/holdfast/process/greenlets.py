"""Detection of gevent and eventlet, which patch Python's standard library so that threads are greenlets."""

import sys


def patched_by() -> str | None:
    """Return the name of the library that replaced threads by greenlets in this process, or ``None``."""
    gevent = sys.modules.get("gevent.monkey")
    if gevent is not None and gevent.is_module_patched("threading"):
        return "gevent"
    eventlet = sys.modules.get("eventlet.patcher")
    if eventlet is not None and eventlet.is_monkey_patched("thread"):
        return "eventlet"
    return None
