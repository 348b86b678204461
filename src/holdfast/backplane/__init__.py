"""Backplanes: carry messages between the processes of one installation, over Redis, UNIX sockets or a Channels layer.

``base`` is the interface. May import ``redis``, ``process`` and ``protocol``; knows nothing of topics, the log or the hub.
"""
