"""The hub: the streams of one process on one event loop, and the publisher that brings events to them.

:mod:`.hub` opens, joins and closes streams, :mod:`.publisher` writes events to the log and sends them out, :mod:`.news` is what
processes send each other. Imports streams, roster, threads, and the interfaces of log, backplane and presence; nothing here
knows connections, topics or Django's settings.
"""
