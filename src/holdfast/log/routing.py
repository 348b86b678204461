"""The decision of ``DATABASE_ROUTERS`` about the log's tables."""

from django.db import router


def refusing_router(alias: str) -> str | None:
    """Return the dotted path of the router that keeps the log's tables out of this database, or ``None`` if none does.

    As for a migration in Django, the first router with an answer decides.
    """
    for one in router.routers:
        allow = getattr(one, "allow_migrate", None)
        answer = None if allow is None else allow(alias, "holdfast", model_name="logtopic")
        if answer is not None:
            return None if answer else f"{type(one).__module__}.{type(one).__qualname__}"
    return None
