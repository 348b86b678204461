"""Processes of ``holdfast serve``: workers and their supervisor, listening sockets, systemd, and the log of requests.

May import :mod:`holdfast.server`, and nothing of the roof: settings are passed as arguments.
"""
