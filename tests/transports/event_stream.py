"""Reader of server-sent events, as the HTML Standard (section 9.2.6) has a browser read them."""

from dataclasses import dataclass, field


@dataclass
class EventStreamReader:
    """Takes bytes in any portions. ``messages`` are those dispatched, each with the id that was the last at that moment."""

    messages: list[tuple[str, str]] = field(default_factory=list)
    comments: int = 0
    last_id: str = ""
    retry: int | None = None
    _rest: bytes = b""
    _data: list[str] = field(default_factory=list)
    _id: str = ""

    def feed(self, data: bytes) -> None:
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            self._line(line.decode().removesuffix("\r"))

    def _line(self, line: str) -> None:
        if not line:
            self.last_id = self._id
            if self._data:
                self.messages.append((self.last_id, "\n".join(self._data)))
            self._data = []
            return
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        match name:
            case "":
                self.comments += 1
            case "data":
                self._data.append(value)
            case "id" if "\0" not in value:
                self._id = value
            case "retry" if value.isdecimal():
                self.retry = int(value)
            case _:
                raise AssertionError(f"a browser would skip the line {line!r}")
