"""Code that deploys contracts in ways that no compiler would."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["deploying"]


def deploying(runtime: bytes, before: bytes = b"", creates: Sequence[bytes] = ()) -> bytes:
    """Code that leaves `runtime` behind, after it has done something else, and created other contracts in order."""

    def code(offset: int) -> bytes:
        at, written = offset + len(runtime), before
        for creation in creates:
            size = f"61{len(creation):04x}"
            written += bytes.fromhex(f"{size}61{at:04x}5f39{size}5f5ff050")
            at += len(creation)
        return written + bytes.fromhex(f"61{len(runtime):04x}8061{offset:04x}5f395ff3")

    return code(len(code(0))) + runtime + b"".join(creates)
