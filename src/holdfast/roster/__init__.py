"""Rosters: who is present in a topic, as one hub knows it and tells its clients.

:mod:`.tracker` brings this server's members into the presence store, and changes out of it; :mod:`.replica` is the copy of a
topic's list. The stores themselves are in :mod:`holdfast.presence`. Imports streams, process, protocol and the interface of
presence; nothing here knows the hub, the log or the backplane.
"""
