"""Fuzzes one target, guided by coverage: `python -m tests.fuzz.run TARGET [folders] [flags of libFuzzer]`."""

from __future__ import annotations

import sys

import atheris

from tests.fuzz.targets import load

__all__ = ["main"]

INSTRUMENTED = ["galaxy_fl", "galaxy_chain", "tests.fuzz", "eth_abi", "eth_keyfile", "tomllib", "rfc8785", "h11"]


def main() -> None:
    """Ends with another exit code than 0 for a bug; the input is then where `-artifact_prefix` says."""
    with atheris.instrument_imports(include=INSTRUMENTED):
        fuzz = load(sys.argv.pop(1))

    def one_input(data: bytes) -> None:
        fuzz(data)

    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
