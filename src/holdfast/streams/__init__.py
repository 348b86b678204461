"""Streams: one topic's subscriptions in one process, and the order in which they get its events.

:mod:`.stream` holds the state, :mod:`.log_follower` the rules of order, :mod:`.replay` serves subscriptions that are behind,
:mod:`.pending_pages` reads the log for them, and :mod:`.slow` and :mod:`.conflation` decide about clients that read too slowly.
Imports threads, protocol, and the interfaces of log and limits; nothing here knows the backplane, presence or connections.
"""
