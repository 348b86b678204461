"""A reader who follows a page of the docs: carries out its commands and writes its files, in the page's order.

A block ```` ```sh ```` holds commands. Any other block names its file: ``title="orders/live.py"``, or
``title="shop/settings.py (add at the end)"``.
"""

import os
import pty
import re
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from tests.services.processes import Server, free_port, start

SECTION = re.compile(r"^## (.+)$", re.MULTILINE)
BLOCK = re.compile(r'^```(\w*)(?: title="([^"]+)")?\n(.*?)^```$', re.MULTILINE | re.DOTALL)
AT_THE_END = " (add at the end)"
RUNSERVER = "python manage.py runserver\n"
PAGES = "http://127.0.0.1:8000"
PASSWORD = "correct horse battery staple"
PROMPTS = (b"Password: ", b"Password (again): ")


@dataclass(kw_only=True, frozen=True)
class Block:
    language: str
    title: str
    text: str


def sections(page: str) -> dict[str, list[Block]]:
    """Return the blocks of each section of a page, by heading."""
    _, *parts = SECTION.split(page)
    return {
        heading: [
            Block(language=language, title=title, text=text) for language, title, text in BLOCK.findall(body)
        ]
        for heading, body in zip(parts[::2], parts[1::2], strict=True)
    }


class Reader:
    """``substitutes`` are what the reader puts in place of a path on the page that is not the same for all readers."""

    def __init__(self, page: str, folder: Path, substitutes: dict[str, str]) -> None:
        self._page, self._folder, self._substitutes = page, folder, substitutes
        self.unread = sections(page)
        self._cwd, self._env = folder / "home", _fresh_environment()
        self._cwd.mkdir()
        self._port = free_port()
        self._server: Server | None = None

    def follow(self, heading: str) -> None:
        """Carry out the blocks of a section."""
        for block in self.unread.pop(heading):
            if block.title:
                self._write(block)
            elif block.text == RUNSERVER:
                self._start_server()
            else:
                assert block.language == "sh", f"a block that is neither a command nor a file:\n{block.text}"
                self.run(block.text)

    def url(self, path: str) -> str:
        """The address of a page whose address is in the text, or follows from what it says to click."""
        return f"http://127.0.0.1:{self._port}{path}"

    def url_of(self, printed: str) -> str:
        """The same for one that is printed on the page."""
        assert f"<{PAGES}{printed}>" in self._page
        return self.url(printed)

    def run(self, commands: str) -> str:
        """Run commands as a terminal would: what they change, such as the folder and the environment, stays."""
        for printed, own in self._substitutes.items():
            commands = commands.replace(printed, own)
        saved = self._folder / "environment"
        near, far = pty.openpty()
        process = subprocess.Popen(
            ["bash", "-e", "-c", f"{commands}\nenv -0 >'{saved}'"],
            cwd=self._cwd,
            env=self._env,
            stdin=far,
            stdout=far,
            stderr=far,
            start_new_session=True,
        )
        os.close(far)
        output = _answering(near)
        assert process.wait(60) == 0, f"{commands}\n{output}"
        lines = saved.read_text().rstrip("\0").split("\0")
        self._env = dict(line.split("=", 1) for line in lines)
        self._cwd = Path(self._env["PWD"])
        return output

    def interrupt_server(self) -> None:
        """Ctrl-C, which a terminal sends to the server and to what it has started."""
        assert self._server is not None
        os.killpg(self._server.process.pid, signal.SIGINT)
        assert self._server.process.wait(20) == 0

    def output_of_server(self) -> str:
        return self._server.output(last=1_000_000) if self._server else ""

    def leave(self) -> None:
        if self._server is not None:
            self._server.kill()

    def _write(self, block: Block) -> None:
        path = self._cwd / block.title.removesuffix(AT_THE_END)
        path.parent.mkdir(parents=True, exist_ok=True)
        if block.title.endswith(AT_THE_END):
            assert path.exists()
            with path.open("a") as file:
                file.write("\n" + block.text)
        else:
            path.write_text(block.text)

    def _start_server(self) -> None:
        command = [*RUNSERVER.split(), str(self._port)]
        # As a terminal starts it: what a shell runs in the background ignores Ctrl-C, and hands that down.
        before = signal.signal(signal.SIGINT, signal.SIG_DFL)
        try:
            self._server = start("runserver", command, directory=self._folder, cwd=self._cwd, env=self._env)
        finally:
            signal.signal(signal.SIGINT, before)
        self._server.wait_until(self._answers)

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(self.url("/live/ready"), timeout=5) as response:
                return bool(response.status == 200)
        except urllib.error.HTTPError as error:
            error.close()
        except OSError:
            pass
        return False


def _fresh_environment() -> dict[str, str]:
    """The environment of a reader who has Python, and has not activated anything."""
    ours = str(Path(sys.prefix) / "bin")
    path = [part for part in os.environ["PATH"].split(os.pathsep) if part != ours]
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("DJANGO_", "PYTEST_", "PYTHON", "VIRTUAL_ENV", "COVERAGE_"))
    }
    return {**kept, "PATH": os.pathsep.join([str(Path(sys.base_prefix) / "bin"), *path]), "NO_COLOR": "1"}


def _answering(terminal: int) -> str:
    """Read a terminal to its end, and answer what asks for a password."""
    output, answered = b"", 0
    while True:
        try:
            read = os.read(terminal, 65536)
        except OSError:  # how Linux says that no program has the other end open
            read = b""
        if not read:
            os.close(terminal)
            return output.decode(errors="replace")
        output += read
        if output[answered:].endswith(PROMPTS):
            answered = len(output)
            os.write(terminal, f"{PASSWORD}\n".encode())
