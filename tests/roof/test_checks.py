"""System checks: each names a mistake and its way out."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.core.checks import CheckMessage, run_checks
from django.core.exceptions import ImproperlyConfigured
from django.db import connection
from django.test import override_settings

from holdfast import Event, Html, Keep, Presence, Topic, checks, conf, installation, wiring
from holdfast.backplane.base import Backplane
from holdfast.database_checks import TAG
from holdfast.log.base import NotMigrated
from holdfast.log.database import DatabaseLog
from holdfast.log.memory import MemoryLog
from holdfast.topics.registry import registry


class Posted(Event):
    id: int


class Typing(Event, durable=False):
    author: str


OPEN = {"may_join": lambda self, user: True}


def found(**given: Any) -> list[CheckMessage]:
    with override_settings(**given):
        return run_checks(tags=[checks.TAG], databases=[])  # Django 6.1 takes all if none is named


def only(messages: Sequence[CheckMessage], id: str) -> CheckMessage:
    [message] = [message for message in messages if message.id == id]
    assert message.hint
    return message


def topics(*attributes: dict[str, Any]) -> list[CheckMessage]:
    made = [
        type(f"Room{n}", (Topic,), {"route": f"rooms{n}/<slug:room>", **OPEN, **a})
        for n, a in enumerate(attributes)
    ]
    with registry.override(made):
        return found()


def test_a_project_without_mistakes_gets_no_message() -> None:
    assert found() == []


# ── settings ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_e001_an_unknown_setting() -> None:
    message = only(found(HOLDFAST={"DATABSE": "default"}), "holdfast.E001")
    assert "'DATABSE'" in message.msg
    assert message.hint == 'Did you mean "DATABASE"?'


def test_e002_a_setting_of_a_wrong_type() -> None:
    message = only(found(HOLDFAST={"MESSAGE_BYTES": "64k"}), "holdfast.E002")
    assert message.msg == "HOLDFAST[\"MESSAGE_BYTES\"] is '64k': expected int, got str."


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        (
            "LOG",
            "databse",
            '"database", "memory", "redis", the dotted path of a subclass of holdfast.log.base.Log',
        ),
        ("LOG", "builtins.dict", "a subclass of holdfast.log.base.Log"),
        ("PRESENCE", "builtins.dict", "a subclass of holdfast.presence.base.PresenceStore"),
        ("BACKPLANE", "redis.nowhere", '"auto", "channels", "local", "memory", "redis", the dotted path'),
        ("BACKPLANE", "holdfast.log.memory.MemoryLog", "a subclass of holdfast.backplane.base.Backplane"),
        ("TOKEN_AUTHENTICATOR", "tests.roof.nowhere.user", "the dotted path of a function"),
        ("TOKEN_AUTHENTICATOR", "tests.settings.DATABASES", "the dotted path of a function"),
    ],
)
def test_e002_a_dotted_path_that_leads_nowhere(key: str, value: str, expected: str) -> None:
    message = only(found(HOLDFAST={key: value}), "holdfast.E002")
    assert f'HOLDFAST["{key}"] is {value!r}' in message.msg
    assert expected in (message.hint or "")


@pytest.mark.parametrize(
    ("key", "name"), [("LOG", "database"), ("LOG", "redis"), ("BACKPLANE", "redis"), ("PRESENCE", "redis")]
)
def test_known_names_of_backends_are_accepted(key: str, name: str) -> None:
    assert found(HOLDFAST={key: name, "REDIS": "redis://localhost"}) == []


def test_dotted_paths_that_fit_are_accepted() -> None:
    paths = {
        "LOG": "holdfast.log.memory.MemoryLog",
        "BACKPLANE": "holdfast.backplane.memory.MemoryBackplane",
        "TOKEN_AUTHENTICATOR": "django.contrib.auth.get_user",
    }
    assert found(HOLDFAST=paths) == []


MINE = f"{__name__}.MyLog"


class MyLog(MemoryLog):
    def __init__(self, *, size: int, shard: str = "a") -> None:
        super().__init__()
        self.size, self.shard = size, shard


class HalfABackplane(Backplane):
    pass


def test_a_backend_with_options_is_made_with_them() -> None:
    with override_settings(HOLDFAST={"LOG": {"BACKEND": MINE, "OPTIONS": {"size": 5}}}):
        assert run_checks(tags=[checks.TAG], databases=[]) == []
        log = wiring.build_runtime().log
    assert isinstance(log, MyLog)
    assert (log.size, log.shard) == (5, "a")


@pytest.mark.parametrize("key", ["LOG", "BACKPLANE", "PRESENCE"])
def test_a_known_name_may_be_written_as_a_backend(key: str) -> None:
    given = {key: {"BACKEND": "redis"}}
    assert only(found(HOLDFAST=given), "holdfast.E007").msg.startswith(f'HOLDFAST["{key}"] is "redis"')
    with override_settings(HOLDFAST={**given, "REDIS": "redis://localhost"}):
        assert getattr(conf.settings(), key.lower()) == "redis"
        assert run_checks(tags=[checks.TAG], databases=[]) == []


@pytest.mark.parametrize(
    ("key", "value", "what", "hint"),
    [
        (
            "LOG",
            {"BACKEND": MINE},
            r"is .*MyLog\(\*, size: int, shard: str = 'a'\).* OPTIONS: .*'size'",
            "OPTIONS are",
        ),
        (
            "LOG",
            {"BACKEND": MINE, "OPTIONS": {"size": 1, "sze": 5}},
            "OPTIONS: .*'sze'",
            "its keyword arguments",
        ),
        (
            "LOG",
            MINE,
            "does not take its OPTIONS: missing a required .*argument: 'size'",
            '{"BACKEND": "tests',
        ),
        ("LOG", {"BACKEND": MINE, "OPTION": {}}, "has the key 'OPTION', which is not one", 'mean "OPTIONS"'),
        ("LOG", {"OPTIONS": {}}, "names no backend: None is not a text", 'Expected: {"BACKEND":'),
        (
            "LOG",
            {"BACKEND": MINE, "OPTIONS": [5]},
            r'has "OPTIONS" that are no dict of names: \[5\]',
            "Expected",
        ),
        (
            "PRESENCE",
            {"BACKEND": "redis", "OPTIONS": {"db": 1}},
            r"is 'redis' with OPTIONS \(db\)",
            "Leave OPTIONS out",
        ),
        (
            "BACKPLANE",
            f"{__name__}.HalfABackplane",
            "HalfABackplane', which lacks flush, send, start",
            "Define these methods",
        ),
        ("BACKPLANE", {"BACKEND": "shop.nowhere.Backplane"}, "cannot be imported", "Expected"),
        ("PRESENCE", {"BACKEND": MINE, "OPTIONS": {"size": 5}}, "which is <class", "PresenceStore"),
    ],
)
def test_e002_a_backend_that_cannot_be_made(key: str, value: Any, what: str, hint: str) -> None:
    message = only(found(HOLDFAST={key: value}), "holdfast.E002")
    assert re.search(rf'^HOLDFAST\["{key}"\].*{what}', message.msg)
    assert hint in (message.hint or "")


@pytest.mark.parametrize(
    "value", [{"BACKEND": MINE}, {"BACKEND": "builtins.dict"}, {"BACKEND": MINE, "OPTIONS": {"x": 1}}]
)
def test_a_process_does_not_start_with_a_backend_that_cannot_be_made(value: dict[str, Any]) -> None:
    with (
        override_settings(HOLDFAST={"LOG": value}),
        pytest.raises(ImproperlyConfigured, match=r'^HOLDFAST\["LOG"\]'),
    ):
        wiring.build_runtime()


@pytest.mark.parametrize("log", ["database", "redis"])
def test_e003_a_database_that_does_not_exist(log: str) -> None:
    given = {"DATABASE": "logs", "LOG": log, "REDIS": "redis://localhost"}
    message = only(found(HOLDFAST=given), "holdfast.E003")
    assert "'logs'" in message.msg
    assert "'default'" in (message.hint or "")


def test_e004_channels_as_backplane_without_a_layer() -> None:
    message = only(found(HOLDFAST={"BACKPLANE": "channels"}), "holdfast.E004")
    assert 'CHANNEL_LAYERS has no "default"' in message.msg
    assert "RedisPubSubChannelLayer" in (message.hint or "")


# ── databases and processes ──────────────────────────────────────────────────────────────────────────────────────────


def databases(**options: Any) -> dict[str, Any]:
    return {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "x", "OPTIONS": options}}


def engine(name: str, **more: Any) -> dict[str, Any]:
    return {"default": {"ENGINE": f"tests.roof.engines.{name}", "NAME": "x", **more}}


def test_e011_a_database_that_cannot_hold_the_log(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "DATABASES", engine("mysql_like"))
    message = only(found(), "holdfast.E011")
    assert "DATABASES['default'] is MySQL or MariaDB" in message.msg
    assert '"LOG": "redis"' in (message.hint or "")
    assert found(HOLDFAST={"LOG": "redis", "REDIS": "redis://localhost"}) == []


def test_an_engine_is_judged_by_what_it_is_and_not_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "DATABASES", engine("wrapped"))
    assert [message.id for message in found()] == ["holdfast.W002"]


def test_e012_a_database_without_autocommit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "DATABASES", engine("wrapped", AUTOCOMMIT=False))
    assert "'default'" in only(found(), "holdfast.E012").msg


class Elsewhere:
    """The log's tables may be in one database only."""

    def allow_migrate(self, db: str, app_label: str, **hints: Any) -> bool | None:
        return db == "sqlite" if app_label == "holdfast" else None


@pytest.mark.django_db
def test_w015_a_router_that_keeps_the_tables_out_is_named() -> None:
    with override_settings(DATABASE_ROUTERS=[f"{__name__}.Elsewhere"]):
        message = only(run_checks(tags=[checks.TAG], databases=[]), "holdfast.W015")
        assert (
            f"{__name__}.Elsewhere keeps the tables of Holdfast's log out of the database 'default'"
            in message.msg
        )
        assert "HOLDFAST = {\"DATABASE\": 'sqlite'}" in (message.hint or "")
        with connection.cursor() as cursor:
            cursor.execute("ALTER TABLE holdfast_topic RENAME TO holdfast_topic_gone")
        ids = [message.id for message in run_checks(databases=["default"])]
        assert ids.count("holdfast.W015") == 1
        assert "holdfast.W003" not in ids
        with pytest.raises(NotMigrated, match=r"Elsewhere keeps them out"):
            DatabaseLog("default").topics()


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({}, ["write-ahead", "IMMEDIATE"]),
        ({"transaction_mode": "IMMEDIATE"}, ["write-ahead"]),
        ({"init_command": "PRAGMA journal_mode = wal;"}, ["IMMEDIATE"]),
    ],
)
def test_w002_sqlite_that_is_not_set_up_for_a_server(
    options: dict[str, Any], named: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settings, "DATABASES", databases(**options))
    message = only(found(), "holdfast.W002")
    assert "DATABASES['default']" in message.msg
    assert [word for word in ("write-ahead", "IMMEDIATE") if word in message.msg] == named
    assert "PRAGMA journal_mode=WAL" in (message.hint or "")


def test_the_options_that_the_hint_offers_are_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    offered: dict[str, Any] = eval("{" + checks.SQLITE_OPTIONS + "}")
    monkeypatch.setattr(settings, "DATABASES", databases(**offered["OPTIONS"]))
    assert found() == []


def test_sqlite_does_not_matter_to_a_log_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "DATABASES", databases())
    assert found(HOLDFAST={"LOG": "memory"}, DEBUG=True) == []


@pytest.mark.django_db
def test_w003_a_database_without_the_tables() -> None:
    assert checks.check_tables(databases=["default"]) == []
    table = "holdfast_outbox"
    with connection.cursor() as cursor:
        cursor.execute(f"ALTER TABLE {table} RENAME TO {table}_gone")
    message = only(checks.check_tables(databases=["default"]), "holdfast.W003")
    assert table in message.msg
    assert message.hint == "Run: manage.py migrate holdfast"


def test_the_database_is_asked_only_when_the_checks_may() -> None:
    assert checks.check_tables(databases=None) == []


MEMORY_LAYER = {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}


@pytest.mark.parametrize("debug", [True, False])
def test_w004_a_layer_for_one_process_as_the_backplane(debug: bool) -> None:
    chosen = {"BACKPLANE": "channels", "REDIS": "redis://localhost"}
    message = only(found(CHANNEL_LAYERS=MEMORY_LAYER, HOLDFAST=chosen, DEBUG=debug), "holdfast.W004")
    assert "Leave BACKPLANE out" in (message.hint or "")
    assert found(CHANNEL_LAYERS=MEMORY_LAYER, DEBUG=debug) == []
    assert found(CHANNEL_LAYERS=MEMORY_LAYER, HOLDFAST={"BACKPLANE": "memory"}, DEBUG=debug) == []


def test_w005_a_log_that_forgets_outside_of_debug() -> None:
    assert "durable topics forget" in only(found(HOLDFAST={"LOG": "memory"}), "holdfast.W005").msg
    assert found(HOLDFAST={"LOG": "memory"}, DEBUG=True) == []


def test_w008_presence_that_each_process_has_for_itself() -> None:
    kept = {"keep": Keep(days=1), "presence": Presence()}
    made = type("Room", (Topic,), {"route": "rooms/<slug:room>", **OPEN, **kept})
    with registry.override([made]):
        assert "Room has presence" in only(found(), "holdfast.W008").msg
        assert found(DEBUG=True) == []
        assert found(HOLDFAST={"REDIS": "redis://localhost"}) == []
        assert found(HOLDFAST={"PRESENCE": "memory"}) == []


@pytest.mark.parametrize("debug", [True, False])
def test_check_deploy_reports_under_debug_what_production_lacks(debug: bool) -> None:
    given = {"route": "rooms/<slug:room>", **OPEN, "presence": Presence()}
    lacks = ["holdfast.W005", "holdfast.W008", "holdfast.W009"]
    with (
        registry.override([type("Room", (Topic,), given)]),
        override_settings(DEBUG=debug, CHANNEL_LAYERS={}, HOLDFAST={"LOG": "memory"}),
    ):
        ids = [message.id for message in run_checks(tags=[TAG], include_deployment_checks=True, databases=[])]
    assert [each for each in ids if each in lacks] == lacks  # each once


def test_w009_ephemeral_events_that_reach_no_other_process() -> None:
    passing = type("Passing", (Topic,), {"route": "passing/<slug:room>", **OPEN})
    kept = type("Kept", (Topic,), {"route": "kept/<slug:room>", **OPEN, "keep": Keep(days=1)})
    with registry.override([passing, kept]):
        message = only(found(CHANNEL_LAYERS={}), "holdfast.W009")
        assert message.msg.startswith("Passing has ephemeral events")
        assert only(found(CHANNEL_LAYERS=MEMORY_LAYER), "holdfast.W009").msg == message.msg
        assert found(CHANNEL_LAYERS={}, DEBUG=True) == []
        assert found(CHANNEL_LAYERS={}, HOLDFAST={"REDIS": "redis://localhost"}) == []
        for chosen in ("memory", "local"):
            assert found(CHANNEL_LAYERS={}, HOLDFAST={"BACKPLANE": chosen}) == []
        assert found(CHANNEL_LAYERS={"default": {"BACKEND": "channels_redis.core.RedisChannelLayer"}}) == []
    with registry.override([kept]):
        assert found(CHANNEL_LAYERS={}) == []
    partly = type(
        "Partly",
        (Topic,),
        {"route": "partly/<slug:room>", **OPEN, "keep": Keep(days=1), "events": [Posted, Typing]},
    )
    with registry.override([kept, partly]):
        message = only(found(CHANNEL_LAYERS={}), "holdfast.W009")
        assert message.msg.startswith("Partly has ephemeral events")


@pytest.mark.parametrize("debug", [True, False])
def test_w025_processes_that_cannot_find_each_other(debug: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    assert found(CHANNEL_LAYERS={}, DEBUG=debug) == []
    monkeypatch.setattr(installation, "folder", lambda alias: Path("/nowhere") / "holdfast")
    message = only(found(CHANNEL_LAYERS={}, DEBUG=debug), "holdfast.W025")
    assert "/nowhere cannot be written to" in message.msg
    for chosen in ({"BACKPLANE": "memory"}, {"REDIS": "redis://localhost"}):
        assert found(CHANNEL_LAYERS={}, DEBUG=debug, HOLDFAST=chosen) == []


@pytest.mark.parametrize("key", ["BACKPLANE", "PRESENCE", "LOG"])
def test_e007_redis_is_wanted_but_not_named(key: str) -> None:
    message = only(found(HOLDFAST={key: "redis"}), "holdfast.E007")
    assert f'HOLDFAST["{key}"] is "redis"' in message.msg
    assert found(HOLDFAST={key: "redis", "REDIS": "redis://localhost"}) == []


def test_e002_a_url_of_redis_that_cannot_be_read() -> None:
    message = only(found(HOLDFAST={"REDIS": "redis://:hunter2@a,b"}), "holdfast.E002")
    assert "names several hosts" in message.msg
    assert "hunter2" not in f"{message.msg} {message.hint}"


def test_with_redis_the_channel_layer_is_not_the_backplane() -> None:
    assert found(CHANNEL_LAYERS=MEMORY_LAYER, HOLDFAST={"REDIS": "redis://localhost"}) == []


# ── the project around it ────────────────────────────────────────────────────────────────────────────────────────────


OTHERS = ("holdfast", "django.contrib.staticfiles", "daphne")


@pytest.mark.parametrize("name", OTHERS[1:])
def test_w006_an_app_whose_runserver_comes_first(name: str) -> None:
    others = [app for app in settings.INSTALLED_APPS if app not in OTHERS]
    message = only(found(INSTALLED_APPS=[name, *others, "holdfast"]), "holdfast.W006")
    assert f'after "{name}"' in message.msg
    assert f'Move "holdfast" above "{name}"' in (message.hint or "")


def test_w007_a_project_in_which_no_user_can_be_signed_in() -> None:
    apps = ["holdfast", "django.contrib.contenttypes"]
    message = only(found(INSTALLED_APPS=apps), "holdfast.W007")
    assert "django.contrib.auth and django.contrib.sessions" in message.msg
    assert "TOKEN_AUTHENTICATOR" in (message.hint or "")
    assert found(INSTALLED_APPS=apps, HOLDFAST={"TOKEN_AUTHENTICATOR": "builtins.len"}) == []


def test_w023_sessions_for_pages_of_any_site() -> None:
    for origin in ("*", "https://*.com"):
        message = only(found(HOLDFAST={"ORIGINS": [origin]}), "holdfast.W023")
        assert repr(origin) in message.msg
    assert "any site" in message.msg
    assert found(HOLDFAST={"ORIGINS": ["https://app.example.com"]}) == []
    without = ["holdfast", "django.contrib.auth", "django.contrib.contenttypes"]
    tokens = {"ORIGINS": ["*"], "TOKEN_AUTHENTICATOR": "builtins.len"}
    assert found(INSTALLED_APPS=without, HOLDFAST=tokens) == []


# ── topics ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_w001_a_topic_that_no_user_can_join() -> None:
    message = only(topics({"may_join": None}), "holdfast.W001")
    assert message.msg == "Room0 has no may_join method and no requires, so no user can join it."
    assert "def may_join(self, user)" in (message.hint or "")


def test_e005_two_topics_with_one_route() -> None:
    message = only(topics({"route": "rooms/<slug:a>"}, {"route": "rooms/<slug:b>"}), "holdfast.E005")
    assert "Room1 has the route 'rooms/<slug:b>'" in message.msg
    assert "Room0 ('rooms/<slug:a>')" in message.msg


async def snapshot(self: Any) -> None: ...


def test_e006_a_snapshot_that_could_not_agree_with_its_position() -> None:
    message = only(topics({"keep": Keep(), "snapshot": snapshot}), "holdfast.E006")
    assert "Room0.snapshot is an async def" in message.msg
    assert "Write it as a def" in (message.hint or "")
    assert "holdfast.E006" not in [message.id for message in topics({"snapshot": snapshot})]


# ── connections ──────────────────────────────────────────────────────────────────────────────────────────────────────


async def _may_join(self: Any, user: Any) -> bool:
    return True


def pooled(pool: Any, *, rule: Any = _may_join, **holdfast: Any) -> list[CheckMessage]:
    database = {"ENGINE": "django.db.backends.postgresql", "NAME": "x", "OPTIONS": {"pool": pool}}
    room = type("Room", (Topic,), {"route": "rooms/<slug:room>", "may_join": rule})
    with (
        registry.override([room]),
        override_settings(DATABASES={"default": database}, HOLDFAST=holdfast),
    ):
        return [
            message
            for message in run_checks(tags=[checks.TAG], databases=[])
            if message.id == "holdfast.W010"
        ]


@pytest.mark.filterwarnings("ignore:Overriding setting DATABASES")
def test_w010_a_pool_that_can_lock_up() -> None:
    [message] = pooled(True)
    assert "at most 4" in message.msg
    assert "the smallest pool that cannot lock up has 17" in message.msg
    assert message.hint
    assert 'lower HOLDFAST["HANDLER_THREADS"] to 3' in message.hint
    assert pooled({"min_size": 2, "max_size": 16})
    assert pooled({"min_size": 2, "max_size": 17}) == []
    assert pooled(True, HANDLER_THREADS=3) == []
    assert pooled(False) == []


@pytest.mark.parametrize(("threads", "found"), [(1, 1), (2, 0)])
def test_w032_one_thread_for_actions_and_rules(threads: int, found: int) -> None:
    with override_settings(HOLDFAST={"HANDLER_THREADS": threads}):
        messages = [message.id for message in run_checks(tags=[checks.TAG], databases=[])]
    assert messages.count("holdfast.W032") == found


@pytest.mark.parametrize(
    ("holdfast", "names"),
    [
        ({}, []),
        ({"CALLS_PER_USER": 31}, ["CALLS_PER_USER"]),
        ({"CALLS_AT_ONCE": 99}, ["CALLS_AT_ONCE"]),
        ({"CALLS_PER_CONNECTION": 1001}, ["CALLS_PER_USER"]),
    ],
)
def test_w033_a_bound_that_another_one_always_comes_before(
    holdfast: dict[str, int], names: list[str]
) -> None:
    with override_settings(HOLDFAST=holdfast):
        found = [
            message.msg
            for message in run_checks(tags=[checks.TAG], databases=[])
            if message.id == "holdfast.W033"
        ]
    assert [name for message in found for name in names if f"['{name}'] is" in message] == names
    assert len(found) == len(names)


@pytest.mark.filterwarnings("ignore:Overriding setting DATABASES")
def test_w010_handlers_that_wait_for_no_other_thread_can_share_any_pool() -> None:
    assert pooled(True, rule=OPEN["may_join"]) == []


def test_w040_a_route_with_parameters_that_overlap() -> None:
    apart = [message.id for message in topics({"route": "teams/<slug:team>/<slug:room>"})]
    assert "holdfast.W040" not in apart
    message = only(topics({"route": "teams/<slug:team>-<slug:room>"}), "holdfast.W040")
    assert "<team>" in message.msg
    assert "<room>" in message.msg


@pytest.mark.parametrize("backend", ["django.DjangoTemplates", "jinja2.Jinja2"])
def test_w041_html_whose_values_are_not_escaped(backend: str) -> None:
    engine = {"BACKEND": f"django.template.backends.{backend}", "OPTIONS": {"autoescape": False}}
    escaping = {"BACKEND": "django.template.backends.django.DjangoTemplates", "NAME": "escaping"}
    with override_settings(TEMPLATES=[engine, escaping]):
        assert "holdfast.W041" not in [message.id for message in topics({})]
        message = only(topics({"events": [Html]}), "holdfast.W041")
    assert "Room0 publishes HTML" in message.msg
    assert backend.partition(".")[0] in message.msg


def test_e039_html_that_no_engine_renders() -> None:
    with override_settings(TEMPLATES=[]):
        assert "holdfast.E039" not in [message.id for message in topics({})]
        assert "TEMPLATES has no engine" in only(topics({"events": [Html]}), "holdfast.E039").msg


# ── limits ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_burst_of_bytes_below_the_largest_message_is_an_error() -> None:
    message = only(found(HOLDFAST={"MESSAGE_BYTES": 3_000_000}), "holdfast.E038")
    assert "BYTE_BURST (2000000) is below MESSAGE_BYTES (3000000)" in message.msg


def test_exempting_every_address_is_a_warning() -> None:
    message = only(found(HOLDFAST={"EXEMPT_NETWORKS": ["private", "0.0.0.0/0"]}), "holdfast.W039")
    assert "0.0.0.0/0" in message.msg


def test_a_redis_on_another_machine_without_a_password_is_a_warning() -> None:
    message = only(found(HOLDFAST={"REDIS": "redis://redis.example.com:6379/0"}), "holdfast.W038")
    assert "redis.example.com" in message.msg


@pytest.mark.parametrize(
    "url",
    [
        "redis://localhost:6379/0",
        "redis://127.0.0.1/0",
        "redis://redis:6379/0",
        "rediss://app:secret@redis.example.com/0",
    ],
)
def test_a_redis_here_or_with_a_password_is_not(url: str) -> None:
    assert "holdfast.W038" not in [message.id for message in found(HOLDFAST={"REDIS": url})]
