"""Texts as samples: windows of tokens, made where the texts are."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from importlib.resources import files
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset

from galaxy_fl.exceptions import DataError

__all__ = ["BYTES", "Texts", "poems"]

BYTES = 257
"""Size of the vocabulary of bytes: each byte of UTF-8 is a token, and 256 is the end of a text."""
END = 256


class Texts(Dataset[dict[str, Tensor]]):
    """A data set of texts. A sample is at most `length` tokens of one text, and never of two.

    Args:
        texts: The texts. Each ends with the token for the end of a text, if the tokenizer has one.
        tokenizer: One of `transformers`, or anything with `encode(text)`, which returns a list of integers; None for
            the vocabulary of bytes, `galaxy_fl.lm.texts.BYTES`.
        length: Tokens of a sample; the last one of a text has fewer.

    Raises:
        DataError: there is no text of two tokens or more, or a value is none of these.

    Example:
        >>> from galaxy_fl.lm import Texts
        >>> Texts(["Tiger, tiger", "burning bright"], length=8)[0]["input_ids"]
        tensor([ 84, 105, 103, 101, 114,  44,  32, 116])
    """

    def __init__(self, texts: Iterable[str], tokenizer: Any = None, length: int = 128) -> None:
        given = [] if isinstance(texts, str) else list(texts)
        if not given or not all(isinstance(text, str) for text in given):
            raise DataError("Texts takes a list of at least one text: of one text, give [text]")
        if type(length) is not int or length < 2:
            raise DataError(f"length is {length!r:.80}, expected a whole number from 2 on: tokens of a sample")
        if isinstance(tokenizer, str) or (tokenizer is not None and not callable(getattr(tokenizer, "encode", None))):
            raise DataError(f"tokenizer is {tokenizer!r:.80}, expected None or one with encode(text)")
        tokens = (_tokens(text, tokenizer) for text in given)
        windows = (torch.tensor(each[at : at + length]) for each in tokens for at in range(0, len(each), length))
        self._windows = [window for window in windows if len(window) > 1]  # of one token nothing is predicted
        if not self._windows:
            raise DataError("there is no text of two tokens or more, so nothing to predict: give some text")

    def __len__(self) -> int:
        return len(self._windows)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        window = self._windows[index]
        return {"input_ids": window, "attention_mask": torch.ones_like(window)}


def _tokens(text: str, tokenizer: Any) -> list[int]:
    if tokenizer is None:
        return [*text.encode(), END]
    found: Sequence[int] = tokenizer.encode(text)
    end = getattr(tokenizer, "eos_token_id", None)
    return [*found] if end is None or (found and found[-1] == end) else [*found, end]


def poems(author: str) -> list[str]:
    """Return poems that come with Galaxy, of "blake", "dickinson" or "shakespeare". They are in the public domain.

    Raises:
        DataError: there is no such author.

    Example:
        >>> from galaxy_fl.lm import poems
        >>> poems("dickinson")[0].splitlines()[2]
        'Hope is the thing with feathers'
    """
    whole = files("galaxy_fl.lm").joinpath("poems.txt").read_text("utf-8")
    by_author: dict[str, list[list[str]]] = {}
    for part in whole.split("# ")[1:]:
        name, _, text = part.partition("\n")
        found = by_author.setdefault(name, [])
        for stanza in text.strip().split("\n\n"):
            # A title is a line of its own before the first stanza.
            if "\n" not in stanza:
                found.append([])
            found[-1].append(stanza)
    if author not in by_author:
        raise DataError(f"there are no poems of {author!r:.80}: choose one of {', '.join(by_author)}")
    return ["\n\n".join(poem) + "\n" for poem in by_author[author]]
