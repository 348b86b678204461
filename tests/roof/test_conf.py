"""Settings: defaults, reading, and the messages about mistakes."""

from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.test import override_settings

from holdfast.conf import Settings, read, settings


def test_every_setting_has_a_default() -> None:
    assert read({}) == (Settings(), [])
    assert settings() == Settings()


def test_settings_are_read_by_their_names_in_capitals() -> None:
    value, problems = read({"PATH": "a/b/", "RECONCILE_SECONDS": 5, "ORIGINS": ["https://app.example.com"]})
    assert not problems
    assert (value.path, value.reconcile_seconds, value.origins) == ("a/b/", 5.0, ("https://app.example.com",))


def test_override_settings_counts_at_once_and_ends() -> None:
    with override_settings(HOLDFAST={"MESSAGE_BYTES": 10}):
        assert settings().message_bytes == 10
    assert settings().message_bytes == 65536


def test_the_settings_are_read_once() -> None:
    assert settings() is settings()


def test_the_rate_is_read() -> None:
    assert read({"MESSAGE_RATE": "100/m"})[0].rate.per_second == pytest.approx(100 / 60)


def test_an_unknown_key_is_named_with_the_one_that_may_be_meant() -> None:
    _, [problem] = read({"HEARTBEAT_SECOND": 3})
    assert problem.what == "HOLDFAST has the key 'HEARTBEAT_SECOND', which is not a setting."
    assert problem.hint == 'Did you mean "HEARTBEAT_SECONDS"?'


def test_an_unknown_key_that_resembles_no_setting_lists_all_settings() -> None:
    _, [problem] = read({"XYZZY": 3})
    names = sorted(name.upper() for name in Settings.__struct_fields__)
    assert problem.hint == f"Known settings: {', '.join(names)}."


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("PATH", "/live/"),
        ("PATH", "live"),
        ("DATABASE", None),
        ("RECONCILE_SECONDS", 0),
        ("RECONCILE_SECONDS", "2"),
        ("MESSAGE_BYTES", -1),
        ("MESSAGE_BYTES", True),
        ("MESSAGE_RATE", "fast"),
        ("MESSAGE_RATE", 50),
        ("ORIGINS", "https://app.example.com"),
        ("GROUP_EVENTS", "no"),
        ("HANDLER_THREADS", 1.5),
    ],
)
def test_a_value_that_does_not_fit_is_named_with_its_default(key: str, value: Any) -> None:
    found, [problem] = read({key: value, "STALL_SECONDS": 7})
    assert problem.what.startswith(f'HOLDFAST["{key}"] is {value!r}: ')
    assert f'"{key}": {getattr(Settings(), key.lower())!r}' in problem.hint
    assert found == Settings(stall_seconds=7)


@pytest.mark.parametrize("value", [None, [], "database"])
def test_a_value_that_is_not_a_dict_is_named(value: Any) -> None:
    _, [problem] = read(value)
    assert "not a dict" in problem.what


def test_settings_with_mistakes_name_all_of_them_when_they_are_used() -> None:
    with (
        override_settings(HOLDFAST={"PATHS": "live/", "STALL_SECONDS": 0}),
        pytest.raises(ImproperlyConfigured, match=r"'PATHS'.*Did you mean \"PATH\"\?.*STALL_SECONDS"),
    ):
        settings()


def test_the_url_of_redis_is_read_when_the_settings_are() -> None:
    value, problems = read({"REDIS": "rediss://localhost/1"})
    assert (value.redis, problems) == ("rediss://localhost/1", [])
    _, [problem] = read({"REDIS": "redis://one,two"})
    assert problem.what == 'HOLDFAST["REDIS"] names several hosts.'
    assert "redis+sentinel://" in problem.hint


@pytest.mark.parametrize(
    "url", ["http://:hunter2@localhost", ["redis://:hunter2@localhost"], b"redis://:hunter2@a"]
)
def test_messages_about_redis_show_no_password(url: object) -> None:
    _, [problem] = read({"REDIS": url})
    assert "hunter2" not in problem.what + problem.hint
