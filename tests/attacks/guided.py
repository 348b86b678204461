"""The targets of :mod:`.fuzzing` under atheris. Its instrumentation has to come before the first import of what it measures."""

import sys

import atheris

with atheris.instrument_imports(include=["holdfast"]):
    from tests.attacks.fuzzing import TARGETS


def main() -> None:
    name, *options = sys.argv[1:]
    atheris.Setup([sys.argv[0], *options], TARGETS[name])
    atheris.Fuzz()


if __name__ == "__main__":
    main()
