"""Presence stores: which members are in which topic, over all servers of one installation.

:mod:`.base` is the interface, with one module for each technology. Imports the clients of Redis and nothing above; what a hub
makes of the members is in :mod:`holdfast.roster`.
"""
