"""System checks of the topics' routes."""

from collections.abc import Sequence
from typing import Any

from django.core.checks import CheckMessage, Warning, register  # noqa: A004 - Django's own name

from .database_checks import TAG
from .topics.registry import registry


@register(TAG)
def check_routes(**kwargs: Any) -> Sequence[CheckMessage]:
    """Can a name be divided among the parameters of a route in one way only?"""
    return [
        Warning(
            f"{topic.__qualname__}.route {topic.declared.route.text!r} leaves open where <{first}> ends and <{second}> begins: "
            "one name can be read in several ways, and the longest text for the first parameter wins.",
            hint=f"Put a character between them that <{first}> cannot contain, such as '/', or give it a narrower converter.",
            obj=topic,
            id="holdfast.W040",
        )
        for topic in registry.topics()
        for first, second in topic.declared.route.overlapping
    ]
