"""Adapters as files: in peft's own format, and within the model that a job ends with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import nn

from galaxy_fl.exceptions import ConfigurationError
from galaxy_fl.lm.libraries import libraries, quietly

__all__ = ["read_adapter", "read_trained", "write_adapter"]


@torch.no_grad()
def read_trained(model: nn.Module, file: Path) -> None:
    """Set the parameters of a model that are trained from a file with its state_dict, of which no more is read.

    Raises:
        ConfigurationError: it has not all of them, or in other shapes; names the tensor.
    """
    try:
        with safe_open(file, "pt") as opened:
            names = set(opened.keys())
            for name, parameter in model.named_parameters():
                if not parameter.requires_grad:
                    continue
                if name not in names:
                    raise ConfigurationError(f"{file} has no tensor {name!r}: it is of another model")
                if (shape := opened.get_slice(name).get_shape()) != list(parameter.shape):
                    raise ConfigurationError(
                        f"{file} has {name!r} of shape {shape}, the model has {list(parameter.shape)}: it is of "
                        "another model, or other lora settings"
                    )
                parameter.copy_(opened.get_tensor(name))
    except (SafetensorError, OSError) as error:
        raise ConfigurationError(f"{file} is not a safetensors file that can be read: {error}") from error


def read_adapter(lm: Any, folder: Path) -> None:
    """Set the adapters of a peft model from a folder.

    Raises:
        ConfigurationError: there is none, or it does not fit; names what differs.
    """
    from safetensors.torch import load_file

    _, peft = libraries()
    try:
        state = load_file(folder / "adapter_model.safetensors")
    except (SafetensorError, OSError) as error:
        raise ConfigurationError(f"{folder} has no adapter_model.safetensors that can be read: {error}") from error
    own = peft.get_peft_model_state_dict(lm, save_embedding_layers=False)
    for name in sorted(state.keys() | own.keys()):
        found, expected = (list(each[name].shape) if name in each else None for each in (state, own))
        if found != expected:
            raise ConfigurationError(
                f"the adapter in {folder} has {name!r} of shape {found}, the model's lora makes it {expected}: give "
                "the model the r and target_modules of the adapter's adapter_config.json"
            )
    with quietly():
        peft.set_peft_model_state_dict(lm, state)


def write_adapter(lm: Any, folder: Path, base: str | None) -> None:
    """Write the adapters of a peft model into a folder."""
    config = lm.peft_config["default"]
    before = config.base_model_name_or_path
    try:
        config.base_model_name_or_path = base
        with quietly():
            lm.save_pretrained(folder, safe_serialization=True, save_embedding_layers=False)
    finally:
        config.base_model_name_or_path = before
    (folder / "README.md").unlink(missing_ok=True)  # a model card with blanks to fill in
