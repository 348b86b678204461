"""The event log of durable topics, and the records of calls that are carried out once.

``base`` and ``calls`` hold the two interfaces; ``database``, ``memory`` and ``redis`` implement the first, ``database_calls``,
``memory_calls`` and ``redis_calls`` the second. It may import ``protocol`` and the Redis client, Django's database layer, and none of
``presence``, ``backplane``, ``limits``, ``hub`` or the packages above them.
"""
