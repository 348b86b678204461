"""The methods by which a topic changes the pages of its subscribers."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, ClassVar

from holdfast import runtime
from holdfast.threads.waiting_thread import in_waiting_thread

from .access import of_topic
from .caller import Caller
from .declaration import Declaration
from .event import Event
from .html import Html, Swap, check_place
from .html_rendering import render

Template = str | Sequence[str]
"""The name of a template, or several names, of which the first that exists is taken."""


class HtmlPublishing:
    """The methods by which a topic that declares :class:`Html` changes pages."""

    declared: ClassVar[Declaration]

    def publish(self, *events: Event, exclude: Caller | str | None = None) -> None:
        """Send events to all subscribers."""
        raise NotImplementedError

    async def apublish(self, *events: Event, exclude: Caller | str | None = None) -> None:
        """Send events to all subscribers."""
        raise NotImplementedError

    def publish_html(
        self,
        template: Template,
        context: Mapping[str, Any] | None = None,
        *,
        target: str,
        swap: Swap = "morph",
        language: str | None = None,
        exclude: Caller | str | None = None,
    ) -> None:
        """Render a template once, and put the fragment into the pages of all subscribers::

            room.publish_html("chat/_message.html", {"message": message}, target="messages", swap="append")

        ``target`` is the id of an element, and ``swap`` what happens to it: ``morph``, ``replace`` and ``update`` (its contents),
        ``append``, ``prepend``, ``before``, ``after``. Pages that have no such element do nothing. An element of the fragment with an id that the page has already takes that
        element's place, so a fragment that arrives twice is in the page once.

        The template is rendered now, and not at the commit. There is no request: context processors do not run, and a
        template that uses ``user``, ``request``, ``csrf_token`` or another value of a request raises
        :class:`~holdfast.topics.html_rendering.NeedsRequest`. It is rendered in ``language`` (default: ``LANGUAGE_CODE``) and
        in the time zone of the settings, whatever the publisher's are. Values are escaped as in any template. Scripts in the
        fragment do not run.

        The rest is as for :meth:`publish`: on a durable topic, pages that were away receive the fragment later; inside
        ``atomic()`` it is sent only if that commits. Raises ``TypeError`` when the topic does not list ``Html`` among its
        ``events``.
        """
        of_topic("publish_html", self)
        event = self._rendered("publish_html", template, context, target, swap, language)
        self.publish(event, exclude=exclude)

    async def apublish_html(
        self,
        template: Template,
        context: Mapping[str, Any] | None = None,
        *,
        target: str,
        swap: Swap = "morph",
        language: str | None = None,
        exclude: Caller | str | None = None,
    ) -> None:
        """As :meth:`publish_html`, for ``async`` code. The template is rendered in a thread, so it may query the database."""
        of_topic("apublish_html", self)
        draw = partial(self._rendered, "apublish_html", template, context, target, swap, language)
        event = await in_waiting_thread(draw, partial(runtime.current().threads.run, draw))
        await self.apublish(event, exclude=exclude)

    def remove_html(self, *, target: str, exclude: Caller | str | None = None) -> None:
        """Remove an element from the pages of all subscribers: the one whose id is ``target``."""
        of_topic("remove_html", self)
        self.publish(self._removal("remove_html", target), exclude=exclude)

    async def aremove_html(self, *, target: str, exclude: Caller | str | None = None) -> None:
        """As :meth:`remove_html`, for ``async`` code."""
        of_topic("aremove_html", self)
        await self.apublish(self._removal("aremove_html", target), exclude=exclude)

    def render_html(
        self,
        template: Template,
        context: Mapping[str, Any] | None = None,
        *,
        target: str,
        swap: Swap = "morph",
        language: str | None = None,
    ) -> Html:
        """Return the event that :meth:`publish_html` would publish. A topic's ``snapshot`` returns it, or several::

        def snapshot(self):
            messages = list(Message.objects.filter(room=self.room))
            return self.render_html("chat/_messages.html", {"messages": messages}, target="messages")
        """
        of_topic("render_html", self)
        return self._rendered("render_html", template, context, target, swap, language)

    def _rendered(
        self, method: str, template: Any, context: Any, target: str, swap: Any, language: str | None
    ) -> Html:
        where = self._place(method, target, swap)
        if swap == "remove":
            raise ValueError(f"{where}: remove takes no template; write remove_html(target={target!r})")
        return Html(target=target, swap=swap, html=render(where, template, context, language))

    def _removal(self, method: str, target: str) -> Html:
        self._place(method, target, "remove")
        return Html(target=target, swap="remove")

    def _place(self, method: str, target: str, swap: str) -> str:
        """Check the place before the template is rendered. Return the name of the method, for messages."""
        where = f"{type(self).__name__}.{method}"
        if Html not in self.declared.events.values():
            raise TypeError(
                f"{where}: {type(self).__name__} does not declare Html, so its subscribers would not expect it; add it: "
                "events = [Html, …], with from holdfast import Html"
            )
        check_place(where, target, swap)
        return where
