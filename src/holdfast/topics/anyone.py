"""``anyone``: the rule that admits every client."""

from typing import Any


async def anyone(topic: Any, user: Any) -> bool:
    """Admit every client, signed in or not: ``may_join = anyone``.

    It says the same as a method that returns ``True``. Holdfast knows it, though: a topic whose events caches may keep
    (``Keep(public=True)``) needs a rule that is the same for all.
    """
    return True
