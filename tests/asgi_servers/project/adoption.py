"""Switch for giving live connections away to a server that takes them (LIVE_ADOPTION=no: they are not given away)."""

import os
from typing import Any


def if_wanted(application: Any) -> Any:
    """Wrap the application, so that it sees the extension `holdfast.adopt` only if wanted."""
    if os.environ.get("LIVE_ADOPTION") != "no":
        return application

    async def without_adoption(scope: Any, receive: Any, send: Any) -> None:
        extensions = {k: v for k, v in scope.get("extensions", {}).items() if k != "holdfast.adopt"}
        await application({**scope, "extensions": extensions}, receive, send)

    return without_adoption
