"""Template tags: their output, and its escaping."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser, User
from django.contrib.sessions.backends.base import SessionBase
from django.template import Context, Template, TemplateSyntaxError
from django.test import RequestFactory, override_settings
from django.urls import set_script_prefix

from holdfast import Event, Keep, Position, Topic, runtime
from holdfast.log.base import Draft
from holdfast.log.memory import MemoryLog
from holdfast.pad import PageDocument
from holdfast.threads.threads import Inline
from holdfast.topics.registry import registry


class Room(Topic):
    route = "rooms/<str:room>"
    keep = Keep()


def rendered(text: str, **context: Any) -> str:
    return Template("{% load holdfast %}" + text).render(Context(context))


def data(html: str, attribute: str) -> Any:
    found = re.search(rf"<script [^>]*{re.escape(attribute)}[^>]*>(.*?)</script>", html)
    assert found, html
    return json.loads(found[1])


# ── live_script ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_modules_can_import_holdfast() -> None:
    html = rendered("{% live_script %}")
    assert data(html, 'type="importmap"') == {
        "imports": {
            "holdfast": "/static/holdfast/holdfast.js",
            "holdfast/queue": "/static/holdfast/queue.js",
            "holdfast/texts": "/static/holdfast/texts.js",
            "holdfast/textarea": "/static/holdfast/textarea.js",
            "holdfast/yjs": "/static/holdfast/yjs.js",
            "yjs": "/static/holdfast/vendor/yjs.js",
            "holdfast/html": "/static/holdfast/html.js",
            "holdfast/tabs": "/static/holdfast/tabs.js",
        }
    }
    assert '<link rel="modulepreload" href="/static/holdfast/holdfast.js">' in html


def owner_of(session_key: str | None, pk: int | None) -> Any:
    request = RequestFactory().get("/")
    session = SessionBase(session_key)
    session._session_cache = {}  # type: ignore[attr-defined]
    request.session, request.user = session, User(pk=pk) if pk else AnonymousUser()
    owner = data(rendered("{% live_script tabs=True %}", request=request), 'id="holdfast-config"')["tabs"]
    assert session.accessed, "a cache may give the page to another user"
    return owner


def test_a_page_says_whose_it_is_in_a_hash_of_session_and_user() -> None:
    ada = owner_of("s" * 32, 7)
    assert ada == owner_of("s" * 32, 7)
    assert (
        len(
            {
                ada,
                owner_of("t" * 32, 7),
                owner_of("s" * 32, 8),
                owner_of("s" * 32, None),
                owner_of(None, None),
            }
        )
        == 5
    )
    assert "tabs" not in data(rendered("{% live_script %}"), 'id="holdfast-config"')
    with override_settings(SECRET_KEY="another"):
        assert ada != owner_of("s" * 32, 7)


def test_tabs_need_the_request() -> None:
    with pytest.raises(TemplateSyntaxError, match="needs the request"):
        rendered("{% live_script tabs=True %}")


def test_tabs_are_loaded_before_the_elements_that_use_them() -> None:
    html = rendered("{% live_script html=True tabs=True %}", request=RequestFactory().get("/"))
    assert 0 < html.index('src="/static/holdfast/tabs.js"') < html.index('src="/static/holdfast/html.js"')


def test_yjs_is_only_in_the_map_where_an_app_brings_it() -> None:
    with override_settings(INSTALLED_APPS=["holdfast"]):
        imports = data(rendered("{% live_script %}"), 'type="importmap"')["imports"]
    assert "yjs" not in imports
    assert "holdfast/yjs" in imports


def test_the_file_that_the_client_loads_by_itself_is_found_under_the_name_that_the_storage_gave_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def hashed(path: str) -> str:
        return f"/static/{path.removesuffix('.js')}.0a1b2c3d.js"

    monkeypatch.setattr("holdfast.templatetags.holdfast.static", hashed)
    imports = data(rendered("{% live_script %}"), 'type="importmap"')["imports"]
    assert imports["/static/holdfast/fallback.js"] == "/static/holdfast/fallback.0a1b2c3d.js"


def test_the_page_contains_the_url_of_the_server() -> None:
    assert data(rendered("{% live_script %}"), 'id="holdfast-config"') == {"url": "/live/ws"}
    with override_settings(HOLDFAST={"PATH": "now/"}):
        assert data(rendered("{% live_script %}"), 'id="holdfast-config"') == {"url": "/now/ws"}


@pytest.fixture
def below_a_prefix() -> Iterator[None]:
    set_script_prefix("/app/")
    yield
    set_script_prefix("/")


def test_the_url_says_which_versions_of_events_the_page_knows() -> None:
    class Posted(Event, name="message.posted", version=2):
        id: int

    class Versioned(Topic):
        route = "versioned"
        events = [Posted]

    with registry.override([Versioned]):
        found = data(rendered("{% live_script %}"), 'id="holdfast-config"')
    assert found == {"url": "/live/ws?versions=message.posted:2"}


@pytest.mark.usefixtures("below_a_prefix")
def test_the_url_contains_the_prefix_of_the_project() -> None:
    assert data(rendered("{% live_script %}"), 'id="holdfast-config"') == {"url": "/app/live/ws"}


def request_with_nonce(nonce: object) -> Any:
    request = RequestFactory().get("/")
    request.csp_nonce = nonce  # type: ignore[attr-defined]
    return request


class Lazy:
    """A lazy nonce like those of Django and django-csp: false until its text is read."""

    def __bool__(self) -> bool:
        return False

    def __str__(self) -> str:
        return "abc"


@pytest.mark.parametrize(
    ("text", "context"),
    [
        ('{% live_script nonce="abc" %}', {}),
        ("{% live_script nonce=given %}", {"given": "abc"}),
        ("{% live_script %}", {"csp_nonce": Lazy()}),
        ("{% live_script %}", {"request": request_with_nonce(Lazy())}),
    ],
)
def test_every_element_has_the_nonce(text: str, context: dict[str, Any]) -> None:
    assert rendered(text, **context).count(' nonce="abc"') == 3


def test_without_a_nonce_no_element_has_one() -> None:
    assert "nonce" not in rendered("{% live_script %}", request=RequestFactory().get("/"))


def test_nothing_escapes_from_a_nonce() -> None:
    assert "<b>" not in rendered("{% live_script nonce=given %}", given='"><b>')


@override_settings(STATIC_URL="/</script><b>/")
def test_nothing_escapes_from_the_import_map() -> None:
    html = rendered("{% live_script %}")
    assert "<b>" not in html
    assert data(html, 'type="importmap"')["imports"]["holdfast"].endswith("holdfast/holdfast.js")


def test_a_map_of_the_page_s_own_gets_the_entries_of_the_client() -> None:
    html = rendered(
        '<script type="importmap">{"imports": { {% live_imports %}, "own": "/own.js" } }</script>'
    )
    theirs = data(rendered("{% live_script %}"), 'type="importmap"')["imports"]
    assert data(html, 'type="importmap"') == {"imports": theirs | {"own": "/own.js"}}


def test_without_an_import_map_only_the_url_of_the_server_is_written() -> None:
    """Neither a map nor a preload: a preload in front of the page's map would make Firefox ignore that map."""
    html = rendered('{% live_script importmap=False nonce="abc" %}')
    assert (
        html == '<script type="application/json" id="holdfast-config" nonce="abc">{"url":"/live/ws"}</script>'
    )


@pytest.mark.parametrize("debug", [True, False])
def test_only_under_debug_the_console_warns_of_several_import_maps(debug: bool) -> None:
    with override_settings(DEBUG=debug):
        html = rendered('{% live_script nonce="abc" %}')
    assert ("more than one import map" in html) is debug
    assert html.count(' nonce="abc"') == 3 + debug
    assert html.count("<script") == html.count("</script>") == 2 + debug


def test_the_page_loads_the_element_when_it_asks_for_it() -> None:
    html = rendered('{% live_script html=True nonce="abc" %}')
    assert '<script type="module" src="/static/holdfast/html.js" nonce="abc"></script>' in html
    assert html.index('type="importmap"') < html.index('type="module"')
    assert "html.js" not in rendered("{% live_script importmap=False %}")


def preloaded(html: str) -> list[str]:
    return re.findall(r'<link rel="modulepreload" href="/static/holdfast/([^"]+)" nonce="abc">', html)


def test_the_page_asks_at_once_for_the_entries_that_it_names_and_what_they_import() -> None:
    html = rendered('{% live_script preload="holdfast/queue  holdfast/yjs holdfast/textarea" nonce="abc" %}')
    assert preloaded(html) == ["holdfast.js", "vendor/yjs.js", "queue.js", "yjs.js", "textarea.js"]
    assert html.index('type="importmap"') < html.index("modulepreload")


def test_what_the_page_brings_itself_is_not_preloaded() -> None:
    with override_settings(INSTALLED_APPS=["holdfast"]):
        html = rendered('{% live_script preload="holdfast/yjs" nonce="abc" %}')
    assert preloaded(html) == ["holdfast.js", "yjs.js"]


def test_a_preload_of_no_module_is_an_error_that_names_the_modules() -> None:
    with pytest.raises(
        TemplateSyntaxError, match=r"preload has 'holdfast/yj', expected some of .*holdfast/yjs"
    ):
        rendered('{% live_script preload="holdfast/yj" %}')


def test_a_preload_without_the_import_map_is_an_error_with_the_way_out() -> None:
    with pytest.raises(TemplateSyntaxError, match=r'importmap=False .*<link rel="modulepreload"'):
        rendered('{% live_script importmap=False preload="holdfast/queue" %}')


# ── live_cursor ──────────────────────────────────────────────────────────────────────────────────────────────────────

POSITION = Position(epoch="k3", offset=41)


@pytest.mark.parametrize("position", [POSITION, "k3:41"])
@pytest.mark.parametrize("topic", [Room(room="lobby"), "rooms/lobby"])
def test_the_page_contains_the_position(topic: Any, position: Any) -> None:
    html = rendered("{% live_cursor topic position %}", topic=topic, position=position)
    expected = '<script type="application/json" data-holdfast-cursor="rooms/lobby">{"epoch":"k3","offset":41}</script>'
    assert html == expected


def test_without_a_position_the_tag_reads_the_topics() -> None:
    class Process:
        log, log_threads = MemoryLog(), Inline()

    Process.log.append([Draft(topic="rooms/lobby", name="x", payload=b"{}")])
    with runtime.using(Process()):  # type: ignore[arg-type]
        html = rendered("{% live_cursor room %}", room=Room(room="lobby"))
    assert data(html, "data-holdfast-cursor")["offset"] == 1


def test_a_name_without_a_position_is_an_error_with_the_way_out() -> None:
    with pytest.raises(
        TemplateSyntaxError, match=r"'rooms/lobby', give the position as well: .*or give a Topic instance"
    ):
        rendered('{% live_cursor "rooms/lobby" %}')


def test_nothing_escapes_from_a_cursor() -> None:
    evil = Position(epoch="</script>\u2028<b>", offset=1)
    html = rendered("{% live_cursor topic position %}", topic=Room(room='"><b>'), position=evil)
    assert "<b>" not in html
    assert data(html, "data-holdfast-cursor")["epoch"] == evil.epoch


# ── live_document ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_page_contains_a_document_with_its_position() -> None:
    position = Position(epoch="k3", offset=41, stamp=7)
    document = PageDocument(topic="pads/plans", position=position, state=b"\x00\xff\xfe")
    html = rendered("{% live_document document %}", document=document)
    expected = '{"epoch":"k3","offset":41,"stamp":7,"document":"AP/+"}'
    assert html == (f'<script type="application/json" data-holdfast-cursor="pads/plans">{expected}</script>')


# ── live_topic ───────────────────────────────────────────────────────────────────────────────────────────────────────


class Passing(Topic):
    route = "passing/<str:room>"


class Story:
    """A log that records its reads in order."""

    def __init__(self) -> None:
        self.log, self.log_threads = self, Inline()
        self.read: list[str] = []

    def heads(self, topics: Any) -> Any:
        self.read.append("position")
        return MemoryLog().heads(topics)

    def data(self) -> str:
        self.read.append("data")
        return "<li>"


@pytest.mark.parametrize("position", [POSITION, "k3:41"])
@pytest.mark.parametrize("topic", [Room(room="lobby"), "rooms/lobby"])
def test_a_live_part_of_the_page_has_the_position(topic: Any, position: Any) -> None:
    html = rendered("{% live_topic topic position %}<p>{{ x }}</p>{% endlive_topic %}", **locals(), x="&")
    assert html == '<live-topic name="rooms/lobby" since="k3:41"><p>&amp;</p></live-topic>'


def test_the_position_is_read_before_what_the_block_reads() -> None:
    story = Story()
    with runtime.using(story):  # type: ignore[arg-type]
        html = rendered(
            "{% live_topic room %}{{ data }}{% endlive_topic %}", room=Room(room="lobby"), data=story.data
        )
    assert story.read == ["position", "data"]
    assert html.endswith(">&lt;li&gt;</live-topic>")


def test_a_topic_that_stores_nothing_has_no_position() -> None:
    html = rendered("{% live_topic room %}{% endlive_topic %}", room=Passing(room="lobby"))
    assert html == '<live-topic name="passing/lobby"></live-topic>'


def test_further_arguments_are_attributes() -> None:
    html = rendered(
        '{% live_topic room refresh=url id="room" class="wide" aria_live="polite" %}{% endlive_topic %}',
        room=Passing(room="lobby"),
        url='/rooms/?a=1&b="',
    )
    expected = (
        '<live-topic name="passing/lobby" refresh="/rooms/?a=1&amp;b=&quot;" id="room" class="wide" '
        'aria-live="polite"></live-topic>'
    )
    assert html == expected


def test_nothing_escapes_from_a_live_part() -> None:
    evil = Position(epoch='"><b>', offset=1)
    html = rendered("{% live_topic topic position %}{% endlive_topic %}", topic='"><b>', position=evil)
    assert "<b>" not in html


def test_a_live_part_by_name_needs_the_position() -> None:
    with pytest.raises(TemplateSyntaxError, match=r"\{% live_topic %\}: for a topic given by its name"):
        rendered('{% live_topic "rooms/lobby" %}{% endlive_topic %}')


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("", "missing a required argument: 'topic'"),
        ("room position 3 4", "too many positional arguments"),
        ('id="log" room', "room has to stand before the arguments with names"),
        ('room id="a" id="b"', 'id="b" is the second argument of its name'),
        ("room topic=room", "multiple values for argument 'topic'"),
    ],
)
def test_wrong_arguments_of_a_live_part_are_named(arguments: str, message: str) -> None:
    with pytest.raises(TemplateSyntaxError, match=r"\{% live_topic %\}: .*" + re.escape(message)):
        rendered(f"{{% live_topic {arguments} %}}{{% endlive_topic %}}")


def test_a_live_part_has_an_end() -> None:
    with pytest.raises(TemplateSyntaxError, match="endlive_topic"):
        rendered("{% live_topic room %}")
