"""Errors of Redis, translated into the errors of the log."""

import contextlib
from collections.abc import Generator

from redis.exceptions import RedisError

from .base import LogUnavailable


@contextlib.contextmanager
def translate_errors() -> Generator[None]:
    """Raise :class:`LogUnavailable` for every error of Redis, or of the network between."""
    try:
        yield
    except (RedisError, OSError) as error:
        raise LogUnavailable(f"the log's Redis does not answer: {type(error).__name__}: {error}") from error
