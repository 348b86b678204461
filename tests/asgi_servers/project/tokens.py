"""Functions for ``TOKEN_AUTHENTICATOR``."""

import asyncio


async def slow(token: str) -> None:
    """Take longer than any test waits, and then find no user."""
    await asyncio.sleep(3600)
