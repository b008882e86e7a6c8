"""The class that a job's language model derives from: a causal language model of transformers, with LoRA by peft."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from contextvars import ContextVar
from pathlib import Path
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn
from torch.nn import functional

from galaxy_fl.exceptions import ConfigurationError, DataError, JobDocumentError
from galaxy_fl.lm.adapter import read_adapter, read_trained, write_adapter
from galaxy_fl.lm.libraries import libraries, quietly
from galaxy_fl.training.accuracy import IGNORED
from galaxy_fl.training.frozen_weights import come_from_elsewhere

__all__ = ["CausalLM"]

_folder: ContextVar[str | os.PathLike[str] | None] = ContextVar("folder of the base", default=None)

LARGEST = 700.0
"""A loss whose power is still a float."""
TYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


class CausalLM(nn.Module):
    """A causal language model whose adapters are trained together, and whose base is frozen.

    Low-rank adaptation is Hu et al., "LoRA: Low-Rank Adaptation of Large Language Models", 2021. A job's model derives
    from this class, in a file of its own, and says what it is. A batch is a dict with `input_ids` [N, T], and where
    samples are padded, on the right, `attention_mask` [N, T]: 1 for tokens, 0 for padding. Each token but a sample's
    first is predicted from those before it; where there are `labels` [N, T], those that are -100 are not.

    Attributes:
        config: What a `config.json` of transformers says, with its `model_type`.
        base: A folder with the base, `config.json` and safetensors as `save_pretrained` writes them, where the job is
            described: its participants get the base with the job. Nothing is downloaded, and nothing unpickled. None
            for weights by chance, from the job's seed.
        lora: Keyword arguments of `peft.LoraConfig`: `r`, `lora_alpha`, `lora_dropout`, `target_modules`, …
        dtype: Type of the base's weights: "float32", "bfloat16" or "float16". Adapters are float32 in any case.
        lm: The model with its adapters, a `peft.PeftModel`.

    Raises:
        JobDocumentError: at construction, config or lora is not valid, or the base is another model.
        ConfigurationError: transformers or peft is not installed, or there is no base in the folder.
    """

    config: ClassVar[Mapping[str, Any]] = {}
    base: ClassVar[str | None] = None
    lora: ClassVar[Mapping[str, Any]] = {}
    dtype: ClassVar[str] = "float32"

    def __init__(self) -> None:
        super().__init__()
        _, peft = libraries()
        base = self._base()
        try:
            chosen = peft.LoraConfig(task_type="CAUSAL_LM", **self.lora)
            with quietly():
                self.lm = peft.get_peft_model(base, chosen)
        except (TypeError, ValueError, KeyError) as error:
            raise JobDocumentError(f"lora of {type(self).__name__}: {error}") from error

    # What it consists of

    @classmethod
    def with_base(cls, folder: str | os.PathLike[str]) -> Self:
        """Return a model whose base is that of another folder than the class says.

        Raises:
            ConfigurationError: there is no such folder, or no model in it.
            JobDocumentError: its model is not what the class's `config` says; names the tensor.
        """
        before = _folder.set(folder)
        try:
            return cls()
        finally:
            _folder.reset(before)

    def load_trained(self, file: str | os.PathLike[str]) -> Self:
        """Take the adapters from a model that a job has ended with, a `.safetensors` file; return this model.

        Raises:
            ConfigurationError: it is not such a file, or of another model; names the tensor.
        """
        read_trained(self, Path(file))
        return self

    def load_adapter(self, folder: str | os.PathLike[str]) -> Self:
        """Take the adapters from a folder in peft's format, to go on from there; return this model.

        Raises:
            ConfigurationError: there is none, or it is one of another shape; names what differs.
        """
        read_adapter(self.lm, Path(folder))
        return self

    def export_adapter(self, folder: str | os.PathLike[str], base: str | os.PathLike[str] | None = None) -> None:
        """Write the adapters in peft's format: adapter_model.safetensors and adapter_config.json.

        Args:
            folder: Made if it is not there.
            base: The name or folder of the base, which peft notes in the configuration.
        """
        write_adapter(self.lm, Path(folder), None if base is None else os.fspath(base))

    @classmethod
    def _adapters_are_plain(cls) -> bool:
        """Tell whether nothing of the adapters is made from the base's weights."""
        plain = cls.lora.get("init_lora_weights", True) in (True, False, "gaussian", "orthogonal")
        return plain and not any(cls.lora.get(name) for name in ("use_dora", "modules_to_save", "bias", "use_bdlora"))

    @classmethod
    def _base(cls) -> Any:
        """Return the base: of the folder, or with room for weights that come, or else with weights by chance."""
        folder = _folder.get() or cls.base
        if come_from_elsewhere():
            return cls._empty_base() if cls._adapters_are_plain() else cls._random_base()
        if folder is None:
            return cls._random_base()
        base = cls._empty_base()
        given, own = dict(_read(Path(folder), _type(cls)).named_parameters()), dict(base.named_parameters())
        for name in [*given, *own]:
            found, expected = (tuple(each[name].shape) if name in each else None for each in (given, own))
            if found != expected:
                raise JobDocumentError(
                    f"the base in {folder} has {name!r} of shape {found}, {cls.__name__}.config makes it {expected}: "
                    "copy the folder's config.json into config"
                )
            own[name].data = given[name].data
        return base

    @classmethod
    def _random_base(cls) -> Any:
        transformers, _ = libraries()
        try:
            settings = dict(cls.config)
            chosen = transformers.AutoConfig.for_model(settings.pop("model_type"), **settings)
            with quietly():
                return transformers.AutoModelForCausalLM.from_config(chosen, dtype=_type(cls))
        except (TypeError, ValueError, KeyError, AttributeError) as error:
            what = "it has no model_type, such as 'llama'" if "model_type" not in cls.config else str(error)
            raise JobDocumentError(f"config of {cls.__name__}: {what}") from error

    @classmethod
    def _empty_base(cls) -> Any:
        """Return it with room for its weights, which is not taken before they come."""
        libraries()
        from transformers.initialization import no_init_weights

        with no_init_weights():
            base = cls._random_base()
        base.tie_weights()  # which is part of what was left out
        return base

    # What it does

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        """Return the logits of the token after each, [N, T, vocabulary]."""
        self._check(input_ids)
        logits: Tensor = self.lm(input_ids=input_ids, attention_mask=attention_mask, use_cache=False).logits
        return logits

    def training_step(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the mean loss over the predicted tokens of a batch, and their number as its weight."""
        ids, mask, labels = (batch.get(name) for name in ("input_ids", "attention_mask", "labels"))
        if ids is None:
            raise DataError(f"a sample has {', '.join(map(str, batch))}, expected a dict with input_ids")
        targets = (ids if labels is None else labels)[:, 1:]
        if mask is not None:
            targets = targets.masked_fill(mask[:, 1:] == 0, IGNORED)
        predicted = (targets != IGNORED).sum()
        if not predicted:
            raise DataError("a batch has no token to predict: samples have two tokens or more that are not masked")
        logits = self(ids, mask)[:, :-1].float()
        loss = functional.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=IGNORED, reduction="sum")
        return {"loss": loss / predicted, "weight": predicted}

    def summarize(self, means: Mapping[str, float]) -> dict[str, float]:
        """Return the perplexity: e to the mean loss over the predicted tokens."""
        return {"perplexity": math.exp(means["loss"]) if means["loss"] < LARGEST else math.inf}

    def _check(self, ids: Tensor) -> None:
        config = self.lm.get_base_model().config
        if ids.dim() != 2 or ids.is_floating_point():
            raise DataError(f"input_ids have shape {tuple(ids.shape)} and type {ids.dtype}, expected [N, T] and int64")
        if int(ids.max()) >= config.vocab_size or int(ids.min()) < 0:
            raise DataError(
                f"a token is {int(ids.max())}, and the model's vocabulary has {config.vocab_size}, from 0 on: use the "
                "tokenizer that belongs to the base"
            )
        longest = getattr(config, "max_position_embeddings", None)
        if longest is not None and ids.shape[1] > longest:
            raise DataError(f"a sample has {ids.shape[1]} tokens, and the model takes {longest}: give shorter ones")

    @staticmethod
    def collate(samples: list[Mapping[str, Any]]) -> dict[str, Tensor]:
        """Return a batch of samples of any lengths, padded on the right."""
        batch: dict[str, Tensor] = {}
        if not all(isinstance(sample, Mapping) and "input_ids" in sample for sample in samples):
            raise DataError("a sample is not a dict with input_ids: give such ones, as galaxy_fl.lm.Texts does")
        for name, padding in (("input_ids", 0), ("attention_mask", 0), ("labels", IGNORED)):
            columns = [sample.get(name) for sample in samples]
            if name == "attention_mask":
                columns = [
                    torch.ones(len(sample["input_ids"]), dtype=torch.int64) if column is None else column
                    for column, sample in zip(columns, samples, strict=True)
                ]
            if all(column is None for column in columns):
                continue
            tensors = [torch.as_tensor(column) for column in columns]
            batch[name] = nn.utils.rnn.pad_sequence(tensors, batch_first=True, padding_value=padding)
        return batch


def _read(folder: Path, dtype: torch.dtype) -> Any:
    if not folder.is_dir():
        raise ConfigurationError(
            f"there is no folder {folder}: give one with config.json and model.safetensors, as save_pretrained writes "
            "them; nothing is downloaded"
        )
    transformers, _ = libraries()
    try:
        with quietly():
            return transformers.AutoModelForCausalLM.from_pretrained(
                folder, dtype=dtype, local_files_only=True, use_safetensors=True, trust_remote_code=False
            )
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise ConfigurationError(f"{folder} has no model that can be read: {error}") from error


def _type(kind: type[CausalLM]) -> torch.dtype:
    if kind.dtype not in TYPES:
        raise JobDocumentError(f"dtype of {kind.__name__} is {kind.dtype!r:.80}, expected one of {', '.join(TYPES)}")
    return TYPES[kind.dtype]
