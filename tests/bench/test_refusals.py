"""A server that refuses what the bench asks for gives no figures. Real servers, and the load generator of the bench."""

import dataclasses
from collections.abc import Iterator

import pytest

from bench import connections, fanout, lineup, polling
from bench.figures import Scale, Table, refused
from bench.generator import Refused
from bench.progress import Progress
from bench.servers import Peer, Served, Surroundings, served, surroundings
from bench.streams import Members

pytestmark = pytest.mark.slow

LIMITED = dataclasses.replace(
    lineup.HOLDFAST,
    environment={**lineup.HOLDFAST.environment, "DJANGO_SETTINGS_MODULE": "tests.bench.limited"},
)
"""A server that runs one call of an address at a time."""
CLOSED = lineup.topic("hall/closed")


@pytest.fixture(scope="module")
def around() -> Iterator[Surroundings]:
    with surroundings(set()) as made:
        yield made


@pytest.fixture(scope="module")
def server(around: Surroundings) -> Iterator[Served]:
    with served(LIMITED, around) as running:
        yield running


def workload_of_calls(peer: Peer, around: Surroundings, monkeypatch: pytest.MonkeyPatch) -> Table:
    monkeypatch.setattr(lineup, "PEERS", (peer,))
    return connections.calls(around, Scale(quick=True, runs=1, seconds=0.3, peers=(peer,)), Progress(1))


def test_a_workload_whose_calls_are_refused_has_no_figures(
    around: Surroundings, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = workload_of_calls(LIMITED, around, monkeypatch)
    (what,) = refused([table])
    assert "the server refused" in what
    assert "too_many_calls" in what
    assert table.cases == {}


def test_a_workload_whose_calls_are_all_answered_has_figures(
    around: Surroundings, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = workload_of_calls(lineup.HOLDFAST, around, monkeypatch)
    assert list(refused([table])) == []
    assert table.cases.keys() == {("holdfast",)}


def test_events_whose_publishing_was_refused_without_an_answer_are_noticed(server: Served) -> None:
    with pytest.raises(Refused, match="had no answer, or were events that did not come back"):
        fanout.flood(server, 2, 16, 0.2)


def test_a_refused_join_does_not_count_as_a_member(server: Served) -> None:
    with pytest.raises(Refused, match=r"refused while joining.*forbidden"):
        server.load("--mode", "idle", "--members", "3", speech=CLOSED)


def test_a_refused_poll_ends_the_benchmark(server: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(polling, "TOPIC", "hall/closed")
    with pytest.raises(SystemExit, match="a client was refused"):
        polling.Poll(server.port)


@pytest.mark.parametrize("transport", ["stream", "websocket"])
def test_a_refused_subscriber_ends_the_benchmark(server: Served, transport: str) -> None:
    with pytest.raises(SystemExit, match="a client was refused"):
        Members(server.port, "hall/closed").join(transport)
