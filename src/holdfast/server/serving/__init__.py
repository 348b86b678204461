"""The processes of ``holdfast serve``: workers, their supervisor, what systemd is sent, and the log of requests.

May import :mod:`holdfast.server`, and nothing of the roof: settings come in as arguments.
"""
