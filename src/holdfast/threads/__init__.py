"""Worker threads: how the event loop runs blocking code and the project's handlers.

:mod:`.threads` is the bridge, :mod:`.lending` gives ``async def`` handlers a thread for the ORM, :mod:`.databases` looks after
database connections, :mod:`.handler_context` is what handlers run in. Imports Django and asgiref, and nothing of Holdfast.
"""
