"""Transports: thin shells between an ASGI server and a connection.

A transport carries messages and takes no protocol decision. ``asgi.py`` is the queue in front of a server's ``send``, for every
kind of transport; ``websocket.py`` is WebSocket. Beside them stand the ASGI middlewares of the live path: readiness, origin
check, script name, and the answer of applications without topics. The package may import ``connections`` and what is below it;
the contract that every transport fulfils is ``connections/transport.py``.
"""
