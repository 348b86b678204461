"""The endpoint of history pages: what it answers, and what caches may keep."""

from typing import Any
from urllib.parse import urlencode

import msgspec
import pytest

from holdfast import Event, Keep, Topic, anyone
from holdfast.connections.boundary import BoundaryPolicy
from holdfast.limits.base import Rate
from holdfast.transports.history import YEAR, LiveHistory
from tests.support.connected import fleet


class Said(Event):
    n: int


class News(Topic):
    route = "news/<slug:about>"
    events = [Said]
    keep = Keep(public=True)
    may_join = anyone


class Brief(News):
    route = "brief/<slug:about>"
    keep = Keep(days=2, public=True)


class Room(Topic):
    route = "rooms/<slug:room>"
    events = [Said]
    keep = Keep()

    async def may_join(self, user: Any) -> bool:
        return True


class Answer(msgspec.Struct):
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return msgspec.json.decode(self.body)


async def get(
    here: Any, topic: str = "news/a", upto: str | None = None, *, method: str = "GET", **more: Any
) -> Answer:
    query = {"topic": topic, **({} if upto is None else {"upto": upto}), **more.pop("query", {})}
    scope = {
        "type": "http",
        "method": method,
        "path": "/live/history",
        "client": ("203.0.113.7", 1),
        "query_string": urlencode(query).encode(),
        "headers": more.pop("headers", []),
    }
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)

    await LiveHistory(lambda: here.processes[0].service)(scope, receive, send)
    headers = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
    return Answer(sent[0]["status"], headers, b"".join(part["body"] for part in sent[1:]))


async def published(topic: Topic, count: int) -> None:
    await topic.apublish(*[Said(n) for n in range(count)])


async def test_the_newest_events_are_cached_for_a_second_and_full_pages_for_ever() -> None:
    async with fleet(News) as here:
        await published(News(about="a"), 205)
        latest = await get(here)
        assert [event["payload"]["n"] for event in latest.json["events"]] == [200, 201, 202, 203, 204]
        assert latest.headers["cache-control"] == "public, max-age=1"
        page = await get(here, upto=latest.json["previous"])
        assert [event["offset"] for event in page.json["events"]] == list(range(101, 201))
        assert page.json["events"][0]["type"] == "event"
        assert page.headers["cache-control"] == f"public, max-age={YEAR}, immutable"
        for answer in (latest, page):
            assert "vary" not in answer.headers
            assert "set-cookie" not in answer.headers
            assert answer.headers["access-control-allow-origin"] == "*"
            assert int(answer.headers["content-length"]) == len(answer.body)


async def test_copies_last_no_longer_than_the_retention() -> None:
    async with fleet(Brief) as here:
        await published(Brief(about="a"), 100)
        latest = await get(here, "brief/a")
        page = await get(here, "brief/a", latest.json["previous"])
        assert page.headers["cache-control"] == "public, max-age=172800, immutable"


async def test_content_that_a_reader_has_is_not_sent_again() -> None:
    async with fleet(News) as here:
        await published(News(about="a"), 101)
        latest = await get(here)
        page = await get(here, upto=latest.json["previous"])
        for answer, upto in ((latest, None), (page, latest.json["previous"])):
            tag = answer.headers["etag"].encode()
            again = await get(here, upto=upto, headers=[(b"if-none-match", b'W/"x", ' + tag)])
            assert (again.status, again.body, again.headers["etag"]) == (304, b"", tag.decode())
            assert again.headers["cache-control"] == answer.headers["cache-control"]
        await published(News(about="a"), 1)
        changed = await get(here, headers=[(b"if-none-match", latest.headers["etag"].encode())])
        assert (changed.status, len(changed.json["events"])) == (200, 2)


async def test_a_page_can_be_asked_for_by_its_number() -> None:
    async with fleet(News) as here:
        await published(News(about="a"), 100)
        latest = await get(here)
        epoch = latest.json["position"].partition(":")[0]
        found = await get(here, upto=f"{epoch}:100")
        assert (found.status, found.headers["cache-control"]) == (307, "public, max-age=1")
        assert found.headers["location"] == f"?topic=news/a&upto={latest.json['previous']}"


async def test_head_says_the_same_without_a_body() -> None:
    async with fleet(News) as here:
        await published(News(about="a"), 3)
        answer, head = await get(here), await get(here, method="HEAD")
        assert (head.status, head.headers, head.body) == (200, answer.headers, b"")


@pytest.mark.parametrize("topic", ["rooms/a", "nothing/a", "news/no!"])
async def test_no_other_topic_has_a_public_history(topic: str) -> None:
    async with fleet(News, Room) as here:
        await published(Room(room="a"), 1)
        answer = await get(here, topic)
        assert (answer.status, answer.headers["cache-control"]) == (404, "no-store")


async def test_what_is_not_there_is_not_cached() -> None:
    async with fleet(News) as here:
        await published(News(about="a"), 99)
        epoch = (await get(here)).json["position"].partition(":")[0]
        early = await get(here, upto=f"{epoch}:100.7")
        assert (early.status, early.headers["cache-control"]) == (404, "no-store")
        await published(News(about="a"), 1)
        other = await get(here, upto=f"{epoch}:100.7")
        assert (other.status, other.headers["cache-control"]) == (410, "no-store")
        assert (other.json["type"], other.json["payload"]["reason"]) == ("reset", "epoch")
        here.log.trim("news/a", count=0)
        trimmed = await get(here, upto=f"{epoch}:100.7")
        assert (trimmed.status, trimmed.json["payload"]["floor"]) == (410, 100)


@pytest.mark.parametrize(
    "query",
    [{"page": "1"}, {"upto": "k3:99.1"}, {"upto": "k3:0"}, {"upto": "x"}, {"topic": ""}],
    ids=str,
)
async def test_queries_that_name_no_page_are_refused(query: dict[str, str]) -> None:
    async with fleet(News) as here:
        assert (await get(here, query=query)).status == 400


async def test_other_methods_are_refused_and_preflights_answered() -> None:
    async with fleet(News) as here:
        assert (await get(here, method="POST")).status == 405
        preflight = await get(here, method="OPTIONS")
        assert (preflight.status, preflight.headers["access-control-allow-origin"]) == (204, "*")


async def test_readers_of_one_address_have_its_limits() -> None:
    policy = BoundaryPolicy(handshakes_per_address=Rate(count=2, seconds=60))
    async with fleet(News, boundary=policy) as here:
        assert [(await get(here)).status for _ in range(3)] == [200, 200, 429]
        assert not here.processes[0].service.boundary.counts()


def test_a_rule_of_each_user_and_a_public_history_exclude_each_other() -> None:
    with pytest.raises(
        TypeError, match=r"Diary\.keep: Keep\(public=True\) .* Diary\.may_join .* may_join = anyone"
    ):

        class Diary(Topic):
            route = "diary"
            keep = Keep(public=True)

            def may_join(self, user: Any) -> bool:
                return True

    with pytest.raises(TypeError, match=r"Ledger\.requires decides"):

        class Ledger(Topic):
            route = "ledger"
            keep = Keep(public=True)
            may_join = anyone
            requires = "auth.view_user"


async def test_a_subclass_cannot_take_the_rule_away() -> None:
    with pytest.raises(TypeError, match=r"Private\.keep"):

        class Private(News):
            route = "private"
            may_join = None  # type: ignore[assignment]
