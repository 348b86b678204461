"""A page without any library: the browser's own EventSource, and calls by `fetch`."""

import pytest

from tests.browser.conftest import People
from tests.browser.harbor import AWAY, Harbor, Person

OPEN = """() => {
    window.heard = [];
    window.opened = 0;
    window.stream = new EventSource("/live/sse?topic=rooms/lobby");
    stream.onopen = () => opened++;
    stream.onmessage = ({ data }) => heard.push(JSON.parse(data));
}"""

SAY = """async (body) => {
    const token = document.cookie.match(/csrftoken=([^;]+)/)[1];
    const response = await fetch("/live/call", {
        method: "POST",
        headers: { "Content-Type": "application/json", "X-CSRFToken": token },
        body: JSON.stringify({ topic: "rooms/lobby", name: "post", key: crypto.randomUUID(), payload: { body } }),
    });
    return [response.status, (await response.json()).type];
}"""

WHILE_AWAY = (
    "from chat.live import MessagePosted, Room; from django.utils import timezone\n"
    "for n in range(3): Room(room='lobby').publish(MessagePosted(id=9000 + n, author='grace', body=f'away {n}', at=timezone.now()))"
)


def bodies(person: Person) -> list[str]:
    found: list[str] = person.page.evaluate(
        "() => heard.filter((message) => message.name === 'message.posted').map((message) => message.payload.body)"
    )
    return found


def say(person: Person, body: str) -> None:
    assert person.page.evaluate(SAY, body) == [200, "result"]


def until(person: Person, what: str) -> None:
    """Wait for a condition of the page. A browser waits some seconds before it reconnects."""
    person.page.wait_for_function(f"() => {what}", timeout=40_000)


@pytest.mark.timeout(120)
def test_a_native_event_source_resumes_after_the_server_was_killed_and_misses_nothing(
    people: People, harbor: Harbor
) -> None:
    ada = people("ada")
    ada.sign_in()
    ada.page.evaluate(OPEN)
    until(ada, "heard.some((message) => message.type === 'joined')")
    say(ada, "before")
    until(ada, "heard.some((message) => message.payload?.body === 'before')")

    harbor.kill()
    harbor.manage("shell", "-c", WHILE_AWAY)
    harbor.start()
    until(ada, "opened === 2 && heard.filter((message) => message.type === 'joined').length === 2")
    say(ada, "after")
    until(ada, "heard.some((message) => message.payload?.body === 'after')")

    assert bodies(ada) == ["before", "away 0", "away 1", "away 2", "after"]
    joined = ada.page.evaluate("() => heard.filter((message) => message.type === 'joined').at(-1).payload")
    assert joined["recovered"] is True
    assert ada.page.evaluate("() => stream.readyState") == 1
    ada.complaints = [each for each in ada.complaints if not any(known in each for known in AWAY)]
