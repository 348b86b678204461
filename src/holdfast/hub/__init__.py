"""The hub: the streams of one process on one event loop, and the publisher that brings events to them.

:mod:`.hub` opens and closes streams, :mod:`.joining` answers the joins of clients and subscribes them, :mod:`.publisher` writes events to
the log and sends them out, :mod:`.messages` is what processes send each other. Imports streams, roster, threads, and the interfaces of
log, backplane and presence; nothing here knows connections, topics or Django's settings.
"""
