"""Keep: the retention of a durable topic."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from holdfast import Keep


def test_days_and_hours_add_up() -> None:
    assert Keep(days=1, hours=12).age == timedelta(hours=36)


def test_without_a_time_there_is_no_age() -> None:
    assert Keep().age is None
    assert Keep(count=10).before(datetime.now(UTC)) is None


def test_before_is_the_time_before_which_events_are_past_their_age() -> None:
    assert Keep(days=2).before(datetime(2024, 3, 3, tzinfo=UTC)) == datetime(2024, 3, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    "limits",
    [{"days": -1}, {"days": "30"}, {"hours": True}, {"hours": float("nan")}, {"count": 0}, {"count": 1.5}],
)
def test_an_invalid_limit_is_refused_by_name(limits: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=rf"^Keep\({next(iter(limits))}=.*expected"):
        Keep(**limits)
