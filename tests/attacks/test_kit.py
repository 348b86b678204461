"""The kit measures what it claims to measure."""

from .attacker import closed, connected, flood, many, upgraded
from .prober import probe
from .server import MEBIBYTE, Attacked, Memory


def test_a_prober_measures_round_trips_of_a_quiet_server(server: Attacked) -> None:
    trips = probe(server, 1.0)

    assert len(trips.seconds) >= 5
    assert 0 < trips.median <= trips.p99 < 1.0


def test_the_kit_sees_sockets_memory_and_processor_time(server: Attacked) -> None:
    memory, sockets, cpu = Memory(server), server.sockets(), server.cpu()
    with many(server, 20, b"G") as waiting, flood(server, b"x" * 1000, connections=2, opening=b""):
        memory.highest(2.0, until=lambda: server.sockets() >= sockets + len(waiting))
        assert server.sockets() >= sockets + len(waiting)
        assert memory.start > MEBIBYTE
        memory.highest(2.0, until=lambda: server.cpu() > cpu)
        assert server.cpu() > cpu


def test_closed_counts_the_sockets_that_the_server_closes(server: Attacked) -> None:
    with connected(server, b"nonsense\r\n\r\n") as wrong, upgraded(server)[0] as right:
        assert closed([wrong], 5.0) == 1
        assert closed([right], 0.2) == 0
