"""Refuse: the exception by which an action refuses a call."""

from typing import Any

import pytest

from holdfast import Refuse


def test_a_refusal_carries_its_reason_and_its_message() -> None:
    refusal = Refuse("room_full", "Twelve is enough.", retry_after=3)
    assert (refusal.reason, refusal.message, refusal.retry_after) == ("room_full", "Twelve is enough.", 3)
    assert str(refusal) == "room_full: Twelve is enough."


@pytest.mark.parametrize("reason", ["", "The room is full.", "Full", "x" * 65, None])
def test_a_sentence_is_not_a_reason(reason: Any) -> None:
    with pytest.raises(
        ValueError, match=r"short word for programs.*put the sentence for people into message="
    ):
        Refuse(reason)
