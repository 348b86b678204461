"""Live connections: the driver of the protocol machine, the topic's own rules, calls, revocation and re-checks.

This package may import ``topics``, ``hub``, ``log``, ``limits``, ``session`` and ``protocol``. It opens no socket: a transport
gives it messages and takes its answers (``sink.py``). ``registry.py`` is what revocation and re-checks know of a connection.
"""
