"""Scenarios of ``conformance/behaviour/closes.json``: what a client does after each close code of the catalogue."""

import json
from collections.abc import Iterator
from typing import Any

STANDARD = {1000: True, 1001: True, 1006: True, 1011: True, 1012: True, 1013: True} | dict.fromkeys(
    (1002, 1003, 1007, 1008), False
)
"""Whether a client comes back after a close code that is not Holdfast's (PROTOCOL.md, section 4)."""

FUTURE = {4199: True, 4399: True, 4499: False, 4500: True}
"""The same for codes that no server sends yet: their range decides."""

AGAIN = {
    "sent": [
        {
            "type": "join",
            "ref": "$again",
            "topic": "rooms/lobby",
            "payload": {"since": {"epoch": "k3", "offset": 41}},
        }
    ]
}


def _scenarios() -> Iterator[dict[str, Any]]:
    from holdfast.protocol.codes import CATALOGUE

    for code in sorted(CATALOGUE.values(), key=lambda code: code.close or 0):
        if code.close is not None:
            yield _scenario(code.close, code.retry, f" ({code.name})", code.name)
    for close, back in STANDARD.items():
        yield _scenario(close, back, "", None)
    for close, back in FUTURE.items():
        yield _scenario(close, back, ", which has no name yet,", None)


def _scenario(close: int, back: bool, name: str, error: str | None) -> dict[str, Any]:
    steps: list[dict[str, Any]] = [{"drop": close}]
    if back:
        steps += [{"over": None}, {"pass": 0.49}, {"attempts": 0}, {"pass": 0.02}, {"attempts": 1}]
        steps += [{"welcome": {}}, AGAIN]
    else:
        steps += [{"over": error}] if error else []
        steps += [{"pass": 100}, {"attempts": 0}]
    does = "comes back from its position" if back else "stays away"
    return {
        "name": f"after close code {close}{name} the client {does}",
        "begin": "in the room",
        "steps": steps,
    }


def text() -> str:
    """The text of closes.json."""
    written = []
    for scenario in _scenarios():
        head = [f'    "{key}": {json.dumps(scenario[key])},' for key in ("name", "begin")]
        steps = ",\n".join(f"      {json.dumps(step)}" for step in scenario["steps"])
        written.append("\n".join(["  {", *head, '    "steps": [', steps, "    ]", "  }"]))
    return "[\n" + ",\n".join(written) + "\n]\n"
