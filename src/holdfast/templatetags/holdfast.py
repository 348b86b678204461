"""``{% load holdfast %}``: template tags for pages that use live topics."""

from base64 import b64encode
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin

import msgspec
from django import template
from django.apps import apps
from django.conf import settings as django_settings
from django.contrib.auth import SESSION_KEY
from django.template.context import Context
from django.templatetags.static import static
from django.urls import get_script_prefix
from django.utils.crypto import salted_hmac
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString, mark_safe

from holdfast.conf import settings
from holdfast.protocol.positions import Position
from holdfast.topics.registry import registry
from holdfast.topics.topic import Topic
from holdfast.topics.versions import PARAMETER, written

from ._block import block

if TYPE_CHECKING:
    from holdfast.pad import PageDocument

register = template.Library()

MODULE = "holdfast/holdfast.js"

# Modules that a page may import by name: the client, and the entries that most pages do without.
MODULES = {
    "holdfast": MODULE,
    "holdfast/queue": "holdfast/queue.js",
    "holdfast/texts": "holdfast/texts.js",
    "holdfast/html": "holdfast/html.js",
    "holdfast/textarea": "holdfast/textarea.js",
    "holdfast/yjs": "holdfast/yjs.js",
    "holdfast/tabs": "holdfast/tabs.js",
}

# What the entries import themselves, by the app that brings it.
OF_APPS = {"holdfast.pad": {"yjs": "holdfast/vendor/yjs.js"}}

# Modules that entries import, besides the client.
IMPORTED = {"holdfast/yjs": "yjs", "holdfast/textarea": "yjs"}

# Characters that could end a <script> element or a line of JavaScript early. JSON allows an escape for each.
_ESCAPES = {ord(character): f"\\u{ord(character):04x}" for character in "<>&\u2028\u2029"}


TWO_MAPS = (
    "This page has more than one import map, and Firefox takes only the first: the imports of the others fail there. "
    "Keep one: write {% live_script importmap=False %} and add {% live_imports %} to your own map."
)

# For developers. Only the browser sees all import maps of a page.
_WATCH = """addEventListener("DOMContentLoaded", () => {
  if (document.querySelectorAll('script[type="importmap" i]').length > 1) console.warn(%s);
});"""


@register.simple_tag(takes_context=True)
def live_script(
    context: Context,
    nonce: str | None = None,
    importmap: bool = True,
    html: bool = False,
    tabs: bool = False,
    preload: str = "",
) -> SafeString:
    """Let the page's modules ``import { connect } from "holdfast"``, and tell the client where the server is.

    The map has the other entries as well: ``holdfast/queue``, ``holdfast/texts``, ``holdfast/html``, ``holdfast/tabs``,
    ``holdfast/yjs`` and ``holdfast/textarea``. With ``holdfast.pad`` in ``INSTALLED_APPS`` it has ``yjs`` itself, which the last two
    import.
    ``{% live_script html=True %}`` also loads ``holdfast/html``, which brings ``<live-topic>`` elements to life, so that the page needs
    no script of its own.

    ``{% live_script tabs=True %}`` says whose the page is, so that ``connect`` of ``holdfast/tabs`` can share one connection among the
    tabs of one browser: a keyed hash of the session and its user. The template needs the request in its context. With ``html=True`` as
    well, the ``<live-topic>`` elements share.

    ``{% live_script preload="holdfast/queue holdfast/yjs" %}`` names the entries that the page's own modules import. The browser then
    requests them, and what they import, together with the page's modules. Otherwise it learns of each import only when the module
    that has it has arrived: one round trip later. The client itself is always requested at once.

    Put it into ``<head>``, before the first ``<script type="module">``: an import map counts only for what follows it.
    Under a content security policy give it the ``nonce``, unless the page has one as ``csp_nonce`` (in the context, as
    of Django 6, or on the request, as of django-csp), which the tag finds itself.

    A page has one import map: Firefox ignores all but the first. Beside a map of the page's own write
    ``{% live_script importmap=False %}``, which says only where the server is, and put ``{% live_imports %}`` into that map.

    Under ``DEBUG`` a page with several maps says so in the browser's console.
    """
    attribute = _nonce(context, nonce)
    elements = [
        *_modules(attribute, importmap, preload.split()),
        format_html(
            '<script type="application/json" id="holdfast-config"{}>{}</script>',
            attribute,
            _json(
                {"url": f"{get_script_prefix()}{settings().path}ws{_versions()}"}
                | ({"tabs": _owner(context)} if tabs else {})
            ),
        ),
    ]
    # Modules run in the order of their elements, and the elements of `html` have to find `tabs`.
    loaded = ["holdfast/tabs", "holdfast/html"] if html and tabs else ["holdfast/html"] if html else []
    elements += [
        format_html('<script type="module" src="{}"{}></script>', static(MODULES[name]), attribute)
        for name in loaded
    ]
    if django_settings.DEBUG:
        watch = mark_safe(_WATCH % _json(TWO_MAPS))  # noqa: S308 - nothing in it comes from outside
        elements.append(format_html("<script{}>{}</script>", attribute, watch))
    return mark_safe("\n".join(elements))  # noqa: S308 - of safe parts


def _owner(context: Context) -> str:
    """Return a text that only pages of the same session and user have in common. It tells nothing of either."""
    request: Any = context.get("request")
    if request is None:
        raise template.TemplateSyntaxError(
            "{% live_script tabs=True %} needs the request: render the template with it (render(request, …)), and add "
            '"django.template.context_processors.request" to the context processors of TEMPLATES'
        )
    session, user = getattr(request, "session", None), getattr(request, "user", None)
    if session is not None:
        # So that the response varies by the cookie, and no cache gives it to another user.
        session.get(SESSION_KEY)
    key = None if session is None else session.session_key
    owner = None if user is None or user.pk is None else str(user.pk)
    return salted_hmac("holdfast.tabs", _json([key, owner]), algorithm="sha256").hexdigest()


def _versions() -> str:
    """Return the query that says which versions of events this page knows: those of now."""
    newest = registry.versions
    return f"?{PARAMETER}={written(newest)}" if newest else ""


@register.simple_tag
def live_imports() -> SafeString:
    """The client's entries of an import map, for a page with a map of its own::

        <script type="importmap">
          {
            "imports": {
              {% live_imports %},
              "vue": "{% static 'vendor/vue.js' %}"
            }
          }
        </script>
        {% live_script importmap=False %}

    It has all modules of the client by the names that storages of static files give them, such as ``holdfast.5d41402abc4b.js``, and
    the file for networks without WebSockets, which the client loads by itself. A map that names only ``"holdfast"`` lacks that file where
    the storage keeps hashed names alone (WhiteNoise with ``WHITENOISE_KEEP_ONLY_HASHED_FILES``).
    """
    return mark_safe(_json(_imports())[1:-1])  # noqa: S308 - JSON, with what could end the element escaped


def _modules(nonce: SafeString, importmap: bool, preload: list[str]) -> list[SafeString]:
    """Return the import map and the preloads. The preloads come second, because browsers accept no map after them."""
    for name in preload:
        if name not in MODULES:
            raise template.TemplateSyntaxError(
                f"{{% live_script %}}: preload has {name!r}, expected some of {', '.join(MODULES)}"
            )
    if not importmap:
        if preload:
            raise template.TemplateSyntaxError(
                "{% live_script %}: importmap=False leaves no place for preload, because a preload has to stand behind the "
                'page\'s own import map; write <link rel="modulepreload" href="{% static \'…\' %}"> there'
            )
        return []
    imports = _imports()
    # The longest first: what entries import. Each once.
    wanted = dict.fromkeys(["holdfast", *(IMPORTED[name] for name in preload if name in IMPORTED), *preload])
    return [
        format_html('<script type="importmap"{}>{}</script>', nonce, _json({"imports": imports})),
        *(
            format_html('<link rel="modulepreload" href="{}"{}>', imports[name], nonce)
            for name in wanted
            if name in imports
        ),
    ]


def _imports() -> dict[str, str]:
    """Return the addresses of the client's modules by the names that modules import them by."""
    modules = [MODULES, *(brought for app, brought in OF_APPS.items() if apps.is_installed(app))]
    imports = {name: static(path) for brought in modules for name, path in brought.items()}
    # The client loads this file by its own address. A storage that adds a hash to names serves it under another one.
    loaded = urljoin(imports["holdfast"], "fallback.js")
    if (hashed := static("holdfast/fallback.js")) != loaded:
        imports[loaded] = hashed
    return imports


@register.simple_tag
def live_cursor(topic: Topic | str, position: Position | str | None = None) -> SafeString:
    """Put a topic's position into the page. The client joins from there, and misses no event in between.

    ::

        {% live_cursor room position %}        a Topic, and the position that the view read
        {% live_cursor "rooms/lobby" position %}
        {% live_cursor room %}                 reads the position here and now

    The position must not be younger than the data that the page shows. The client receives every event after the
    position when it joins. An event between the reading of the data and a later position would be lost. So a view reads
    the position *first* (``room.position()``) and then its data; the client may then receive an event that the page shows
    already. Or the view reads both at one instant (``room.consistent_read(take)``), and no event is shown twice. Without a
    position the tag reads it where the tag stands, which is right only above data that the template reads later.
    """
    return _cursor(str(topic), _position("live_cursor", topic, position))


def _cursor(topic: str, value: object) -> SafeString:
    return format_html(
        '<script type="application/json" data-holdfast-cursor="{}">{}</script>', topic, _json(value)
    )


@register.simple_tag
def live_document(document: "PageDocument") -> SafeString:
    """Put a shared document into the page. ``YjsProvider`` starts with it, and the client joins from its position.

    ::

        <textarea id="text" readonly>{{ document.text }}</textarea>
        …
        {% live_document document %}

    ``document`` is what the view got from :meth:`SharedDocument.document`. Without this tag the editor stays empty until the client
    has connected and joined, which takes several round trips. Put it at the end of ``<body>``: the page's text is shown before
    it arrives, and the page's modules run after it. It takes the place of ``{% live_cursor %}`` for this topic.
    """
    found = msgspec.to_builtins(document.position) | {"document": b64encode(document.state).decode()}
    return _cursor(document.topic, found)


@block(register, end="</live-topic>")
def live_topic(
    topic: Topic | str,
    position: Position | str | None = None,
    refresh: str | None = None,
    **attributes: object,
) -> SafeString:
    """Keep a part of the page up to date with the HTML that a topic publishes (:meth:`Topic.publish_html`).

    ::

        {% live_topic room position %}
          <ul id="messages">{% for message in messages %}{% include "chat/_message.html" %}{% endfor %}</ul>
        {% endlive_topic %}

    The tag writes a ``<live-topic>`` element around the block, with the topic's position. ``{% live_script html=True %}`` brings
    the element to life. Without JavaScript the page shows the block as it was rendered.

    ``position`` is the position that the view read, before the data that the block shows or at one instant with it, as for
    ``{% live_cursor %}``. Without it the tag reads the position before it renders the block. That is right only for data that
    the block itself reads: a queryset that the view has not evaluated. A topic that stores no events has no position.

    When events were missed, the element fetches the page again, and morphs itself into the new rendering. ``refresh`` is the
    address of a page to fetch instead, which has to contain the same tag. Further arguments are attributes of the element:
    ``id="room"``, ``class="chat"``, ``aria_live="polite"``.
    """
    durable = not isinstance(topic, Topic) or topic.declared.durable
    found = _position("live_topic", topic, position) if durable or position is not None else None
    written = {"name": str(topic), "since": found, "refresh": refresh, **attributes}
    pairs = ((name.replace("_", "-"), value) for name, value in written.items() if value is not None)
    return format_html("<live-topic{}>", format_html_join("", ' {}="{}"', pairs))


def _position(tag: str, topic: Topic | str, given: Position | str | None) -> Position:
    """Return the position that a tag was given, or the topic's."""
    if isinstance(given, Position):
        return given
    if given is not None:
        return Position.parse(given)
    if not isinstance(topic, Topic):
        raise template.TemplateSyntaxError(
            f"{{% {tag} %}}: for a topic given by its name, {topic!r}, give the position as well: "
            f"{{% {tag} name position %}}; or give a Topic instance"
        )
    return topic.position()


def _nonce(context: Context, given: str | None) -> SafeString:
    found: Any = given
    if found is None:
        found = context.get("csp_nonce")
    if found is None:
        found = getattr(context.get("request"), "csp_nonce", None)
    # It may be lazy, and false until its text is read.
    text = "" if found is None else str(found)
    return format_html(' nonce="{}"', text) if text else SafeString("")


def _json(value: object) -> SafeString:
    text = msgspec.json.encode(value).decode().translate(_ESCAPES)
    return mark_safe(text)  # noqa: S308 - nothing in it can end the script element
