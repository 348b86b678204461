"""Django signals about connections, for monitoring and audit logs (``docs/how-to/audit.md``).

Connect receivers in an ``AppConfig.ready``::

    from holdfast.signals import connection_refused

    connection_refused.connect(count_refusal)  # def count_refusal(code, address, **kwargs)

All signals have the arguments ``transport``, ``address``, ``connection_id`` and ``user_id``, and are sent with ``sender=None``.
Receivers run on the event loop: they must not block, ask the database or be ``async def``.
"""

from .connections import notices

connection_accepted = notices.ACCEPTED.signal
connection_refused = notices.REFUSED.signal
connection_closed = notices.CLOSED.signal
join_refused = notices.JOIN_REFUSED.signal
limit_hit = notices.LIMIT_HIT.signal
evicted = notices.EVICTED.signal

__all__ = [
    "connection_accepted",
    "connection_closed",
    "connection_refused",
    "evicted",
    "join_refused",
    "limit_hit",
]
