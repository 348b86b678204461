"""Lua scripts, which Redis executes atomically."""

import hashlib
from collections.abc import Sequence
from typing import Any, NamedTuple

from redis.exceptions import NoScriptError

from .client import Client


class Script:
    """A script, and the hash by which a server that has loaded it knows it. All its keys share one hash tag."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.hash = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()

    def call(self, client: Client, keys: Sequence[str], *arguments: Any) -> Any:
        """Call the script by its hash, or by its text if the server does not know it (any more)."""
        try:
            return client.evalsha(self.hash, len(keys), *keys, *arguments)
        except NoScriptError:  # then nothing was executed
            return client.eval(self.text, len(keys), *keys, *arguments)

    def call_together(self, client: Any, calls: Sequence[tuple[Sequence[str], Sequence[Any]]]) -> list[Any]:
        """Call the script several times in one transaction (``MULTI``). Not available in a cluster."""
        for last in (False, True):
            pipeline = client.pipeline(transaction=True)
            for keys, arguments in calls:
                pipeline.evalsha(self.hash, len(keys), *keys, *arguments)
            try:
                return list(pipeline.execute())
            except NoScriptError:  # none of them was executed
                if last:
                    raise
                client.script_load(self.text)
        raise AssertionError("unreachable")


class ScriptCall(NamedTuple):
    """One call of a script as a command, for code that sends many commands and reads the answers later.

    Send :attr:`by_hash` first, and :attr:`by_text` if its answer is ``NoScriptError``.
    """

    script: Script
    keys: tuple[str, ...]
    arguments: tuple[Any, ...]

    @property
    def by_hash(self) -> tuple[Any, ...]:
        return ("EVALSHA", self.script.hash, len(self.keys), *self.keys, *self.arguments)

    @property
    def by_text(self) -> tuple[Any, ...]:
        return ("EVAL", self.script.text, len(self.keys), *self.keys, *self.arguments)
