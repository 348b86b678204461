"""``Html``: the event that changes one element of every subscriber's page."""

from typing import Annotated, Any, Literal, get_args

from msgspec import Meta

from holdfast.protocol.construction import shortened

from .event import Event

Swap = Literal["morph", "replace", "update", "append", "prepend", "before", "after", "remove"]
"""Ways to put a fragment into a page.

- ``morph``: make the element equal to the fragment, and keep all parts that are equal already, with their focus, selection,
  scroll position and typed text.
- ``replace``: put the fragment in the element's place.
- ``update``: put the fragment in the place of the element's contents.
- ``append``, ``prepend``: put the fragment into the element, behind or in front of its contents.
- ``before``, ``after``: put the fragment beside the element.
- ``remove``: remove the element. The fragment is empty.
"""

LONGEST_TARGET = 200

Target = Annotated[str, Meta(min_length=1, max_length=LONGEST_TARGET, pattern=r"^[^\s#]+$")]
"""The id of an element, as in ``<ul id="messages">``."""


class Html(Event, name="holdfast.html"):
    """A fragment of HTML, and where it belongs in the page. List it in the ``events`` of a topic, and publish it with
    :meth:`Topic.publish_html`::

        class Room(Topic):
            route = "rooms/<slug:room>"
            events = [Html, MessagePosted]
            keep = Keep(days=30)

    ``target`` is the id of an element. ``swap`` says what to do with it. A ``<live-topic>`` element in the page carries it out
    (``holdfast/html``). ``html`` is put into the page as it is: :meth:`Topic.publish_html` renders a template, which escapes
    values; text that you put here yourself is not escaped.

    A topic's ``snapshot`` may return what :meth:`Topic.render_html` makes, or a list of such events. Then a page without a
    known position gets the current state by it.
    """

    target: Target
    swap: Swap
    html: str = ""


SWAPS: tuple[str, ...] = get_args(Swap)


def check_place(where: str, target: Any, swap: Any) -> None:
    """Raise ``TypeError`` or ``ValueError``, with the way out, for a target that is no id or an unknown way to swap."""
    if not isinstance(target, str):
        raise TypeError(
            f'{where}: target={shortened(target)} is no text; give the id of an element: target="messages"'
        )
    if not target or "#" in target or any(map(str.isspace, target)):
        raise ValueError(
            f"{where}: target={shortened(target)} is no id of an element; a target is not a CSS selector: for "
            '<ul id="messages"> write target="messages"'
        )
    if len(target) > LONGEST_TARGET:
        raise ValueError(f"{where}: target={shortened(target)} has more than {LONGEST_TARGET} characters")
    if swap not in SWAPS:
        raise ValueError(
            f"{where}: swap={shortened(swap)} is not known; expected one of {', '.join(map(repr, SWAPS))}"
        )
