#!/usr/bin/env python
"""Counts what a federated language model of 1.2 billion parameters takes, without making one of its weights."""

from __future__ import annotations

import argparse
from dataclasses import dataclass

from galaxy_fl.lm import CausalLM, Sizes

UNITS = ((10**9, "GB"), (10**6, "MB"), (10**3, "kB"))
TARGETS = ("q_proj", "k_proj", "v_proj", "o_proj")
ALL = (*TARGETS, "gate_proj", "up_proj", "down_proj")


class Billion(CausalLM):
    """Of the size of Llama 3.2 1B."""

    config = {  # noqa: RUF012
        "model_type": "llama",
        "vocab_size": 128256,
        "hidden_size": 2048,
        "intermediate_size": 8192,
        "num_hidden_layers": 16,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "max_position_embeddings": 131072,
        "tie_word_embeddings": True,
    }
    dtype = "bfloat16"


@dataclass(frozen=True)
class Row:
    """A job."""

    name: str
    lora: dict[str, object]

    def __str__(self) -> str:
        sizes = Sizes.of(type("Billion", (Billion,), {"lora": self.lora}))
        figures = (sizes.base_bytes, sizes.vector_bytes, sizes.round_bytes, sizes.state_bytes)
        counted = f"{sizes.base_parameters:,} | {sizes.parameters:,}"
        return f"| {self.name} | {counted} | {' | '.join(map(amount, figures))} |"


ROWS = (
    Row("r = 8, `q_proj` and `v_proj`", {"r": 8, "target_modules": ["q_proj", "v_proj"]}),
    Row("r = 16, attention", {"r": 16, "target_modules": list(TARGETS)}),
    Row("r = 16, all linear layers", {"r": 16, "target_modules": list(ALL)}),
)


def amount(size: int) -> str:
    """Return bytes as people read them."""
    unit, name = next(each for each in UNITS if size >= each[0])
    return f"{size / unit:.3g} {name}"


def main() -> None:
    """Print the table of docs/how-to/language-models.md."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    for row in ROWS:
        print(row)


if __name__ == "__main__":
    main()
