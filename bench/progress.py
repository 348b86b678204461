"""A progress bar on standard error, with a word for the current step."""

import sys
import time

WIDTH = 30


class Progress:
    def __init__(self, steps: int) -> None:
        self._steps = max(steps, 1)
        self._done = 0
        self._began = time.monotonic()
        self._drawn = sys.stderr.isatty()

    def begin(self, what: str) -> None:
        self._show(what)

    def done(self) -> None:
        self._done += 1

    def note(self, what: str) -> None:
        """Print a line that stays."""
        self._wipe()
        print(what, file=sys.stderr, flush=True)

    def end(self) -> None:
        self._wipe()

    def _show(self, what: str) -> None:
        share = min(self._done / self._steps, 1)
        passed = time.monotonic() - self._began
        left = f", about {passed / share - passed:,.0f} s left" if share > 0.02 else ""
        full = round(share * WIDTH)
        line = f"{'█' * full}{'░' * (WIDTH - full)} {self._done}/{self._steps}{left}  {what}"
        if self._drawn:
            self._wipe()
            print(line[:110], end="", file=sys.stderr, flush=True)
        else:
            print(line, file=sys.stderr, flush=True)

    def _wipe(self) -> None:
        if self._drawn:
            print("\r\033[2K", end="", file=sys.stderr, flush=True)
