"""HTML over the wire: a template is rendered once for all subscribers, and nothing in it belongs to one of them."""

import asyncio
import datetime as dt
import json
from collections.abc import Iterator
from typing import Any, cast

import pytest
from django.contrib.auth.models import AnonymousUser, User
from django.template import RequestContext, TemplateDoesNotExist
from django.test import RequestFactory, override_settings
from django.utils import timezone, translation

from holdfast import Event, Html, Keep, Topic, runtime
from holdfast.topics.client_id import client_id
from holdfast.topics.html_rendering import NeedsRequest

from .test_topic import Process

TEMPLATES = {
    "plain.html": "<li>{{ body }}</li>",
    "user.html": "<b>{{ user }}</b>",
    "attribute.html": "<b>{{ request.user.pk }}</b>",
    "condition.html": "<b>{% if user.is_staff and body %}secret{% endif %}</b>",
    "negated.html": "<b>{% if not user %}in{% endif %}</b>",
    "loop.html": "{% for message in messages %}{{ message }}{% endfor %}",
    "form.html": "<form>{% csrf_token %}</form>",
    "permission.html": "{% if perms.auth.add_user %}secret{% endif %}",
    "included.html": '{% include "user.html" %}',
    "unused.html": "<b>{% if body %}plain{% else %}{{ user }}{% endif %}</b>",
    "language.html": "{% load i18n %}{% get_current_language as code %}<b>{{ code }}</b>",
    "time.html": "{% load tz %}<b>{{ at|date:'H:i' }}</b>",
    "users.html": "<ul>{% for each in users %}<li>{{ each.username }}</li>{% endfor %}</ul>",
    "long.html": "<p>{% for each in body %}0123456789{% endfor %}</p>",
}


def engine(**options: Any) -> list[dict[str, Any]]:
    loaders = [("django.template.loaders.locmem.Loader", TEMPLATES)]
    return [
        {
            "BACKEND": "django.template.backends.django.DjangoTemplates",
            "OPTIONS": {"loaders": loaders, **options},
        }
    ]


class Posted(Event):
    body: str


class Room(Topic):
    route = "rooms/<slug:room>"
    events = [Posted, Html]
    keep = Keep(days=30)


class Quiet(Topic):
    route = "quiet"
    events = [Posted]


@pytest.fixture(autouse=True)
def templates() -> Iterator[None]:
    with override_settings(TEMPLATES=engine()):
        yield


@pytest.fixture
def process() -> Iterator[Process]:
    process = Process()
    with runtime.using(cast("runtime.Runtime", process)):
        yield process
    process.threads.close()


ROOM = Room(room="lobby")


def published(process: Process) -> Any:
    ((durable, (draft,)),) = process.published
    assert (durable, draft.topic, draft.name) == (True, "rooms/lobby", "holdfast.html")
    return json.loads(draft.payload)


def drawn(template: str, **context: Any) -> str:
    return ROOM.render_html(template, context, target="x").html


# ── what is published ────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_fragment_is_published_with_its_place(process: Process) -> None:
    ROOM.publish_html("plain.html", {"body": "hi"}, target="messages", swap="append")
    assert published(process) == {"target": "messages", "swap": "append", "html": "<li>hi</li>"}


def test_a_fragment_is_morphed_into_the_page_unless_the_call_says_otherwise(process: Process) -> None:
    ROOM.publish_html("plain.html", target="messages")
    assert published(process)["swap"] == "morph"


def test_values_are_escaped(process: Process) -> None:
    ROOM.publish_html("plain.html", {"body": "<script>alert(1)</script>"}, target="messages")
    assert published(process)["html"] == "<li>&lt;script&gt;alert(1)&lt;/script&gt;</li>"


def test_an_element_is_removed_without_a_template(process: Process) -> None:
    ROOM.remove_html(target="message-7")
    assert published(process) == {"target": "message-7", "swap": "remove", "html": ""}


def test_the_first_template_that_exists_is_rendered(process: Process) -> None:
    ROOM.publish_html(["missing.html", "plain.html"], {"body": "hi"}, target="messages")
    assert published(process)["html"] == "<li>hi</li>"


def test_a_client_can_be_excluded(process: Process) -> None:
    ROOM.publish_html(
        "plain.html", target="messages", exclude=(client := client_id(AnonymousUser(), "a" * 32))
    )
    ((_, (draft,)),) = process.published
    assert draft.exclude == client


def test_a_fragment_has_the_limit_of_every_event(process: Process) -> None:
    with pytest.raises(
        ValueError, match=r"rooms/lobby.*Html is \d+ bytes of JSON, and an event may have 1000"
    ):
        ROOM.publish_html("long.html", {"body": "x" * 100}, target="messages")
    assert process.published == []


@pytest.mark.django_db(transaction=True)
def test_async_code_may_render_a_template_that_queries_the_database(process: Process) -> None:
    User.objects.create(username="ada")

    async def publish() -> None:
        await ROOM.apublish_html("users.html", {"users": User.objects.all()}, target="members")
        await ROOM.aremove_html(target="member-7")

    asyncio.run(publish())
    first, second = (json.loads(draft.payload) for _, (draft,) in process.published)
    assert first["html"] == "<ul><li>ada</li></ul>"
    assert second["swap"] == "remove"


# ── nothing of one user ──────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("template", "name"),
    [
        ("user.html", "user"),
        ("attribute.html", "request"),
        ("condition.html", "user"),
        ("negated.html", "user"),
        ("loop.html", "messages"),
        ("form.html", "csrf_token"),
        ("permission.html", "perms"),
        ("included.html", "user"),
    ],
)
def test_a_template_that_uses_its_request_is_refused(process: Process, template: str, name: str) -> None:
    with pytest.raises(NeedsRequest, match=rf"^Room\.publish_html: the template uses '{name}'"):
        ROOM.publish_html(template, {"body": "hi"}, target="messages")
    assert process.published == []


def test_a_name_that_is_not_reached_is_not_refused() -> None:
    assert drawn("unused.html", body="hi") == "<b>plain</b>"


def test_a_value_that_the_caller_passes_is_no_secret() -> None:
    assert drawn("user.html", user="ada") == "<b>ada</b>"


@pytest.mark.parametrize("name", ["request", "http"])
def test_a_request_is_refused(name: str) -> None:
    with pytest.raises(TypeError, match=rf"Room\.render_html: context\['{name}'\] is a request"):
        drawn("plain.html", **{name: RequestFactory().get("/")})


def test_a_context_of_a_request_is_refused() -> None:
    request = RequestFactory().get("/")
    request.user = AnonymousUser()
    with pytest.raises(
        TypeError, match=r"expected the context as a dict, got .*; write Room\.publish_html\("
    ):
        ROOM.publish_html("plain.html", RequestContext(request), target="messages")  # type: ignore[arg-type, no-untyped-call]


def test_the_publisher_s_language_is_not_the_subscribers() -> None:
    with translation.override("de"):
        assert drawn("language.html") == "<b>en-us</b>"
        assert ROOM.render_html("language.html", target="x", language="fr").html == "<b>fr</b>"
        assert translation.get_language() == "de"


@override_settings(USE_TZ=True, TIME_ZONE="UTC")
def test_the_publisher_s_time_zone_is_not_the_subscribers() -> None:
    noon = dt.datetime(2026, 1, 1, 12, tzinfo=dt.UTC)
    with timezone.override(dt.timezone(dt.timedelta(hours=2))):
        assert drawn("time.html", at=noon) == "<b>12:00</b>"


def test_jinja_templates_are_refused_the_same_things(tmp_path: Any) -> None:
    (tmp_path / "user.html").write_text("{% if user.is_staff and body %}secret{% endif %}")
    (tmp_path / "plain.html").write_text("<li>{{ body }}</li>")
    jinja = {"BACKEND": "django.template.backends.jinja2.Jinja2", "DIRS": [tmp_path]}
    with override_settings(TEMPLATES=[jinja]):
        assert drawn("plain.html", body="<b>") == "<li>&lt;b&gt;</li>"
        with pytest.raises(NeedsRequest, match="the template uses 'user'"):
            drawn("user.html")


# ── mistakes ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_topic_has_to_declare_html(process: Process) -> None:
    for publish in (
        lambda: Quiet().publish_html("missing.html", target="x"),
        lambda: Quiet().remove_html(target="x"),
    ):
        with pytest.raises(TypeError, match=r"Quiet does not declare Html.*events = \[Html, …\]"):
            publish()
    assert process.published == []


@pytest.mark.parametrize("target", ["#messages", "", "two words", ".list > li", "x" * 201])
def test_a_target_is_an_id(target: str) -> None:
    with pytest.raises(ValueError, match=r"^Room\.publish_html: target="):
        ROOM.publish_html("plain.html", target=target)


def test_a_target_is_text() -> None:
    with pytest.raises(TypeError, match=r'target=7 is no text; give the id of an element: target="messages"'):
        ROOM.publish_html("plain.html", target=7)  # type: ignore[arg-type]


def test_the_ways_to_swap_are_known() -> None:
    with pytest.raises(
        ValueError, match=r"swap='innerHTML' is not known; expected one of 'morph', 'replace',"
    ):
        ROOM.publish_html("plain.html", target="x", swap="innerHTML")  # type: ignore[arg-type]


def test_a_removal_takes_no_template() -> None:
    with pytest.raises(ValueError, match=r"remove takes no template; write remove_html\(target='x'\)"):
        ROOM.publish_html("plain.html", target="x", swap="remove")


def test_a_template_that_is_missing_is_named(process: Process) -> None:
    with pytest.raises(TemplateDoesNotExist, match=r"missing\.html"):
        ROOM.publish_html("missing.html", target="x")


def test_a_topic_and_not_its_class_publishes() -> None:
    with pytest.raises(TypeError, match="it is a method of one topic, not of the class"):
        Room.publish_html("plain.html", {}, target="x")  # type: ignore[arg-type]


def test_an_event_made_by_hand_is_checked_as_well() -> None:
    with pytest.raises(ValueError, match=r"Html\.swap"):
        Html(target="x", swap="innerHTML").encode()  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"Html\.target"):
        Html(target="#x", swap="morph").encode()
