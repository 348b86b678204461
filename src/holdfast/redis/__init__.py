"""Access to Redis for all rooms that store data there: the address in the settings, clients, and Lua scripts.

Not to be confused with the library ``redis``, which absolute imports find. May import ``process``.
"""
