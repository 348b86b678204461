"""The wire protocol: frames, codes, codecs, positions, and the server's side as a state machine.

This is the ground of the package: it imports nothing else of Holdfast. It does no I/O and knows no clock, no task and no
Django (import-linter holds that); the time is always an argument. ``PROTOCOL.md`` is the specification, and
:class:`~holdfast.protocol.server_protocol.ServerProtocol` the machine that the connections drive.
"""
