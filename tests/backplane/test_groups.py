"""Names of topics among Channels' groups."""

import pytest
from channels.layers import BaseChannelLayer
from hypothesis import example, given
from hypothesis import strategies as st

from holdfast.backplane.groups import group_name

names = st.one_of(
    st.text(st.sampled_from("ab/.-_ä \U0001f600"), max_size=8),
    st.text(max_size=255),
    st.text(st.sampled_from("abc/"), min_size=80, max_size=100),
)


@pytest.mark.parametrize(
    ("topic", "group"),
    [
        ("rooms/lobby", "holdfast.rooms.lobby"),
        ("orders/8f1c-22_x", "holdfast.orders.8f1c-22_x"),
        ("a" * 90, "holdfast." + "a" * 90),
        ("a.b", "holdfast-2e7336dc8eba87ef472df568c35482abf2575dc3e5eac0c5c62b8ffaeac2c934"),
    ],
)
def test_the_groups_of_published_topics_never_change(topic: str, group: str) -> None:
    assert group_name(topic) == group


@given(names)
@example("a" * 91)
@example("")
@example("rooms/lobby\n")
def test_channels_accepts_every_group_name(topic: str) -> None:
    group = group_name(topic)
    assert BaseChannelLayer().require_valid_group_name(group)
    assert not group.endswith("\n")  # Channels' own check lets it through


@given(names, names)
@example("a/b", "a.b")
@example("a//b", "a/b")
@example("rooms/Lobby", "rooms/lobby")
def test_two_topics_never_share_a_group(one: str, other: str) -> None:
    assert (group_name(one) == group_name(other)) == (one == other)
