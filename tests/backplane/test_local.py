"""Properties of UNIX sockets: processes that die or stop reading, and the folder of their sockets."""

import asyncio
import os
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from holdfast.backplane import folder, local, peer_process
from holdfast.backplane.folder import SUFFIX, UnusableError
from holdfast.backplane.local import LocalBackplane

from .ends import WAIT, Receiver

ROOT = Path(__file__).parents[2]

LISTENER = """
import asyncio, sys
from pathlib import Path
from holdfast.backplane.local import LocalBackplane

async def main():
    backplane = LocalBackplane(Path(sys.argv[1]))
    await backplane.start(
        lambda topic, message: print(len(message), flush=True), lambda *_: None, lambda: print("interrupted", flush=True)
    )
    await backplane.subscribe("rooms/lobby")
    print("ready", flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


@contextmanager
def other_process(path: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that receives `rooms/lobby`, and prints how long each message is."""
    process = subprocess.Popen(
        [sys.executable, "-c", LISTENER, str(path)], stdout=subprocess.PIPE, text=True, cwd=ROOT
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def sockets(path: Path) -> list[str]:
    return sorted(name.name for name in path.iterdir())


@pytest.fixture
def path(short_path: Path) -> Path:
    return short_path / "local"


# ── other processes ──────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_process_without_a_loop_sends_without_a_thread(path: Path) -> None:
    backplane = LocalBackplane(path)
    with other_process(path) as other:
        backplane.send("rooms/lobby", b"hello")
        assert other.stdout is not None
        assert other.stdout.readline() == "5\n"
    assert not backplane._pushing


def test_a_process_that_died_is_forgotten_and_its_socket_removed(path: Path) -> None:
    backplane = LocalBackplane(path)
    with other_process(path) as other:
        backplane.send("rooms/lobby", b"hello")
        assert len(sockets(path)) == 1
        other.kill()
        other.wait()
        for _ in range(3):
            backplane.send("rooms/lobby", b"hello")
    assert not path.exists()
    assert not backplane.has_others()
    backplane.send("rooms/lobby", b"hello")
    assert backplane._peers == {}


def test_a_process_that_exits_without_stopping_leaves_no_socket_behind(path: Path) -> None:
    """Daphne exits so: it knows no lifespan. A child that ends before it removes nothing."""
    program = LISTENER.replace(
        "await asyncio.Event().wait()", "found = await child(sys.argv[1]); assert found, found"
    )
    program = program.replace(
        "async def main",
        """
import os
async def child(path):
    if os.fork() == 0:
        sys.exit()
    os.wait()
    return os.listdir(path)

async def main""",
    )
    run = [sys.executable, "-W", "ignore", "-c", program, str(path)]
    done = subprocess.run(run, cwd=ROOT, check=True, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("ready\n", "")
    assert not path.exists()


async def test_a_process_that_starts_removes_the_sockets_of_dead_ones(path: Path) -> None:
    with other_process(path) as other:
        other.kill()
        other.wait()
    assert len(sockets(path)) == 1
    receiver = await Receiver(LocalBackplane(path)).start()
    assert len(sockets(path)) == 1
    assert sockets(path)[0].startswith(f"{os.getpid()}-")
    await receiver.backplane.stop()
    assert not path.exists()  # noqa: ASYNC240 - nothing else runs here


def test_a_suspended_process_holds_up_no_publisher_and_learns_what_it_missed(
    path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(peer_process, "BYTES", 2_000_000)
    monkeypatch.setattr(peer_process, "PAUSE", 0.0)
    backplane = LocalBackplane(path)
    with other_process(path) as other:
        assert other.stdout is not None
        other.send_signal(signal.SIGSTOP)
        longest = 0.0
        for _ in range(200):
            began = time.perf_counter()
            backplane.send("rooms/lobby", b"x" * 50_000)
            longest = max(longest, time.perf_counter() - began)
        assert longest < 1.0
        assert backplane._peers
        assert sum(waiting._bytes for waiting in backplane._peers.values()) <= 2_100_000
        assert backplane.lost["overflow"] > 50
        assert f"Process {other.pid} does not read" in caplog.text
        assert caplog.text.count("does not read") == 1
        other.send_signal(signal.SIGCONT)
        assert backplane.flush(WAIT)
        backplane.send("rooms/lobby", b"last")
        lines: set[str] = set()
        while not lines >= {"interrupted\n", "4\n"}:
            lines.add(other.stdout.readline())


def test_a_process_that_reads_nothing_for_a_while_is_cut_off(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backplane = LocalBackplane(path)
    with other_process(path) as other:
        other.send_signal(signal.SIGSTOP)
        for _ in range(20):
            backplane.send("rooms/lobby", b"x" * 50_000)
        assert not backplane.flush(0)
        now = time.monotonic() + peer_process.PATIENCE + 1
        monkeypatch.setattr(time, "monotonic", lambda: now)
        assert backplane.flush(0)
        assert backplane.lost["expired"] > 0


def test_a_suspended_process_does_not_keep_others_from_receiving(path: Path) -> None:
    backplane = LocalBackplane(path)
    with other_process(path) as suspended, other_process(path) as other:
        assert other.stdout is not None
        suspended.send_signal(signal.SIGSTOP)
        for _ in range(20):
            backplane.send("rooms/lobby", b"x" * 50_000)
        assert [other.stdout.readline() for _ in range(20)] == ["50000\n"] * 20


async def test_a_message_larger_than_a_sockets_buffer_arrives_whole(path: Path) -> None:
    sender = LocalBackplane(path)
    receiver = await Receiver(LocalBackplane(path)).start("rooms/lobby")
    messages = [os.urandom(3_000_000), b"small", os.urandom(1_000_000), b""]
    sender.send_many([("rooms/lobby", message) for message in messages])
    await receiver.until(lambda: len(receiver.news) == 4)
    assert receiver.of("rooms/lobby") == messages
    await receiver.backplane.stop()


async def test_bytes_that_are_not_ours_end_the_connection_only(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    receiver = await Receiver(LocalBackplane(path)).start("rooms/lobby")
    with socket.socket(socket.AF_UNIX) as stranger:
        stranger.connect(str(path / sockets(path)[0]))
        stranger.sendall(b"GET / HTTP/1.1\r\n\r\n")
        assert await asyncio.to_thread(stranger.recv, 1) == b""
    assert "sent no valid frame" in caplog.text
    LocalBackplane(path).send("rooms/lobby", b"hello")
    await receiver.has(("rooms/lobby", b"hello"))
    await receiver.backplane.stop()


@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
async def test_a_forked_child_lets_go_of_its_parent_s_sockets(path: Path) -> None:
    """A child that lives on must not keep the sockets of its dead parent open: others would go on sending into them."""
    receiver = await Receiver(LocalBackplane(path)).start("rooms/lobby")
    sender = LocalBackplane(path)
    sender.send("rooms/lobby", b"hello")
    await receiver.has(("rooms/lobby", b"hello"))
    listener, peers = receiver.backplane._listener, sender._peers.values()  # type: ignore[attr-defined]
    ours = [item.fileno() for item in (listener._socket, *listener._connections)]
    ours += [peer._socket.fileno() for peer in peers if peer._socket is not None]
    assert len(ours) == 3
    read, write = os.pipe()
    if (child := os.fork()) == 0:
        open_here = {int(link) for link in os.listdir("/proc/self/fd")}  # noqa: PTH208 - nothing else runs here
        os.write(write, b"%d" % len(open_here.intersection(ours)))
        os._exit(0)
    assert await asyncio.to_thread(os.read, read, 100) == b"0"
    await asyncio.to_thread(os.waitpid, child, 0)
    os.close(read)
    os.close(write)
    sender.send("rooms/lobby", b"again")
    await receiver.has(("rooms/lobby", b"hello"), ("rooms/lobby", b"again"))
    await receiver.backplane.stop()


async def test_processes_that_come_and_go_all_the_time_find_each_other(path: Path) -> None:
    """The last process removes the folder, and the first one makes it."""

    async def come_and_go(number: int) -> None:
        for _ in range(20):
            receiver = await Receiver(LocalBackplane(path)).start("rooms/lobby")
            sender = LocalBackplane(path)
            async with asyncio.timeout(20):
                # A backplane may lose a message, such as one to a folder that goes at this moment; the next one arrives.
                while b"%d" % number not in receiver.of("rooms/lobby"):
                    sender.send("rooms/lobby", b"%d" % number)
                    await asyncio.sleep(0.02)
            await receiver.backplane.stop()

    await asyncio.gather(*[asyncio.to_thread(asyncio.run, come_and_go(number)) for number in range(4)])
    assert not path.exists()  # noqa: ASYNC240 - nothing else runs here


# ── the folder ───────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_the_folder_is_closed_to_other_users(path: Path) -> None:
    before = os.umask(0)
    try:
        receiver = await Receiver(LocalBackplane(path)).start()
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == stat.S_IRWXU  # noqa: ASYNC240 - nothing else runs here
    await receiver.backplane.stop()


@pytest.mark.parametrize("mode", [0o755, 0o710, 0o707])
def test_a_folder_that_is_open_to_other_users_is_not_used(path: Path, mode: int) -> None:
    path.mkdir()
    path.chmod(mode)
    with pytest.raises(UnusableError, match="open to other users"):
        folder.check(path)


def test_a_link_or_a_file_in_the_place_of_the_folder_is_not_used(path: Path, tmp_path: Path) -> None:
    path.symlink_to(tmp_path)
    with pytest.raises(UnusableError, match="not a folder of the user"):
        folder.check(path)
    path.unlink()
    path.touch()
    with pytest.raises(UnusableError, match="not a folder of the user"):
        folder.check(path)


def test_a_folder_of_another_user_is_not_used(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path.mkdir(mode=0o700)
    monkeypatch.setattr(os, "getuid", lambda: 12345)
    with pytest.raises(UnusableError, match="not a folder of the user"):
        folder.check(path)


def test_a_path_that_is_too_long_for_a_socket_is_refused(path: Path) -> None:
    with pytest.raises(UnusableError, match="TMPDIR"):
        folder.check(path / ("x" * 100))


def test_a_system_without_unix_sockets_is_named(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(socket, "AF_UNIX")
    with pytest.raises(UnusableError, match="no UNIX sockets"):
        folder.check(path)


async def test_a_socket_that_was_removed_is_made_again_and_logged(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local, "FIND_SECONDS", 0.0)
    receiver = await Receiver(LocalBackplane(path)).start("rooms/lobby")
    (path / sockets(path)[0]).unlink()
    path.rmdir()  # noqa: ASYNC240 - nothing else runs here
    await receiver.backplane.subscribe("rooms/captains")
    LocalBackplane(path).send("rooms/captains", b"hello")
    await receiver.has(("rooms/captains", b"hello"))
    await receiver.until(lambda: receiver.interruptions == 1)
    await receiver.backplane.stop()


async def test_two_folders_never_meet(path: Path, short_path: Path) -> None:
    receiver = await Receiver(LocalBackplane(path)).start("rooms/lobby")
    other = LocalBackplane(short_path / "other")
    assert not other.has_others()
    other.send("rooms/lobby", b"stranger")
    LocalBackplane(path).send("rooms/lobby", b"friend")
    await receiver.has(("rooms/lobby", b"friend"))
    await receiver.backplane.stop()


async def test_processes_of_another_version_are_not_seen(path: Path) -> None:
    path.mkdir(mode=0o700)  # noqa: ASYNC240 - nothing else runs here
    with socket.socket(socket.AF_UNIX) as newer:
        newer.bind(str(path / "1-abcdef.v2"))
        newer.listen()
        assert SUFFIX != ".v2"
        assert not LocalBackplane(path).has_others()
        receiver = await Receiver(LocalBackplane(path)).start()
        await receiver.backplane.stop()
        assert sockets(path) == ["1-abcdef.v2"]


async def test_starting_twice_is_refused(path: Path) -> None:
    receiver = await Receiver(LocalBackplane(path)).start()
    with pytest.raises(RuntimeError, match="started already"):
        await receiver.start()
    await receiver.backplane.stop()


async def test_a_process_that_cannot_listen_warns_once_and_still_sends(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path.touch()  # noqa: ASYNC240 - nothing else runs here
    receiver = await Receiver(LocalBackplane(path)).start("rooms/lobby", "rooms/captains")
    receiver.backplane.send("rooms/lobby", b"hello")
    assert caplog.text.count("cannot receive from the other processes") == 1
    await receiver.backplane.stop()
