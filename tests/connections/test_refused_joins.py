"""A refused join says nothing about the topic, neither in its content nor in the work that it takes."""

from typing import Any

import pytest

from holdfast import Topic
from tests.support.connected import Socket, User, fleet
from tests.support.hubs import Scripted


class OnLoop(Topic):
    route = "loop/<int:number>"

    async def may_join(self, user: Any) -> bool:
        return False


class InThread(Topic):
    route = "thread/<int:number>"

    def may_join(self, user: Any) -> bool:
        return False


class WithoutRule(Topic):
    route = "closed/<int:number>"


class Required(Topic):
    route = "required/<int:number>"
    requires = "auth.view_group"

    async def may_join(self, user: Any) -> bool:
        return True


class Captain(User):
    def has_perms(self, permissions: Any) -> bool:
        return False


@pytest.mark.parametrize("user", [None, Captain(1)], ids=["anonymous", "signed in"])
async def test_unknown_and_forbidden_topics_are_answered_alike_after_one_visit_to_a_thread(user: Any) -> None:
    async with fleet(OnLoop, InThread, WithoutRule, Required) as here:
        threads = Scripted()
        threads.replace(here.processes[0].runtime.threads)
        socket: Socket = await here.processes[0].connect(user)
        answers, visits = [], []
        for name in ("nothing/1", "loop/1", "thread/1", "closed/1", "required/1", "thread/x", "!control"):
            before = len(threads.calls)
            answer = await socket.join(name)
            answers.append((answer["type"], answer["payload"]))
            visits.append(len(threads.calls) - before)
        assert answers == [answers[0]] * len(answers)
        assert visits == [1] * len(visits)
