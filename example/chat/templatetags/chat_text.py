"""Filters for a message's text on a page: text, and links. The same rule is in static/chat/messages.js."""

import re

from django import template
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

register = template.Library()

LINK = re.compile(r"""(https?://[^\s<>"]*[^\s<>".,;:!?'\])}])""")


@register.filter
def linked(body: str) -> SafeString:
    """Make the web addresses in a text links. All else is escaped."""
    return format_html_join(
        "", "{}", ((link(part) if LINK.fullmatch(part) else part,) for part in LINK.split(body))
    )


@register.filter
def marked(body: str, words: str) -> SafeString:
    """Mark where the words of a search stand in a text."""
    found = re.compile(f"({re.escape(words)})", re.IGNORECASE)
    parts = found.split(body) if words else [body]
    return format_html_join(
        "", "{}", ((format_html("<mark>{}</mark>", part) if n % 2 else part,) for n, part in enumerate(parts))
    )


def link(address: str) -> SafeString:
    return format_html('<a href="{0}" rel="nofollow noopener" target="_blank">{0}</a>', address)
