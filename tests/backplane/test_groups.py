"""What topics are called among Channels' groups."""

import re

from hypothesis import given
from hypothesis import strategies as st

from holdfast.backplane.groups import group_name

names = st.text(st.sampled_from("ab/.-_ä \U0001f600"), min_size=1, max_size=255)


def test_an_ordinary_name_stays_readable() -> None:
    assert group_name("rooms/lobby") == "holdfast.rooms.lobby"


@given(names)
def test_channels_takes_every_group(name: str) -> None:
    assert re.fullmatch(r"[a-zA-Z\d\-_.]+", group_name(name), re.ASCII)
    assert len(group_name(name)) < 100


@given(names, names)
def test_two_topics_never_share_a_group(one: str, other: str) -> None:
    assert (group_name(one) == group_name(other)) == (one == other)


def test_a_group_is_the_same_in_every_process() -> None:
    assert group_name("a.b").startswith("holdfast-2e7336dc8eba87ef472df568c35482abf2575dc3")
