"""What a private job asks of a model. Whatever it can't protect is refused, by name, before anybody trains."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from torch import nn

from galaxy_fl.exceptions import ConfigurationError, JobDocumentError
from galaxy_fl.jobs.privacy import Privacy, UpdatePrivacy, check_noise
from galaxy_fl.privacy.accountant import MISSING
from galaxy_fl.vectors import Layout

__all__ = ["check_private_model"]


def check_private_model(
    model: nn.Module, privacy: Privacy | None, layout: Layout, frozen: Collection[str] = ()
) -> None:
    """Make sure that a job's privacy covers all that leaves a client.

    Args:
        model: The job's.
        privacy: The job's; None for none, which every model suits.
        layout: What of the model is in its vectors.
        frozen: Names of tensors that nobody trains, whether or not they require gradients here.

    Raises:
        JobDocumentError: something of the model isn't covered; names it.
    """
    if privacy is None:
        return
    _check_buffers(model, layout)
    if isinstance(privacy, UpdatePrivacy):
        check_noise(privacy, layout)
    else:
        _check_layers(model, frozen)


def _check_buffers(model: nn.Module, layout: Layout) -> None:
    """Make sure that no buffer travels: what training leaves in one is no gradient, and no noise suits all of them."""
    travelling = {tensor.name for tensor in layout.tensors}
    statistics = {
        f"{prefix}.{name}" if prefix else name: type(module).__name__
        for prefix, module in model.named_modules()
        if isinstance(module, nn.modules.batchnorm._NormBase)
        for name, _ in module.named_buffers(recurse=False)
    }
    for name, _ in model.named_buffers(remove_duplicate=False):
        if name not in travelling:
            continue
        if name in statistics:
            raise JobDocumentError(
                f"privacy: {name!r} is a running statistic of {statistics[name]} and travels with each update, where "
                "it tells of the data, and noise could make a variance negative: use GroupNorm or LayerNorm in its "
                "place, or track_running_stats=False (in the mode update only), or keep it out of what travels"
            )
        raise JobDocumentError(
            f"privacy: the buffer {name!r} travels with each update, and neither mode covers buffers: let the "
            "constructor register it with persistent=False, or keep it out of what travels"
        )


def _check_layers(model: nn.Module, frozen: Collection[str]) -> None:
    """Make sure that Opacus can tell the gradients of single examples apart in each layer that is trained."""
    try:
        from opacus.grad_sample import GradSampleModule
        from opacus.utils.module_utils import trainable_modules
        from opacus.validators import ModuleValidator
    except ImportError as error:
        raise ConfigurationError(f"{MISSING} ({error})") from error
    training = model.training
    held = [value for name, value in model.named_parameters() if name in frozen and value.requires_grad]
    model.train()
    try:
        for value in held:
            value.requires_grad_(False)
        for name, module in trainable_modules(model):
            if errors := [*_own_errors(ModuleValidator, module), *GradSampleModule.validate(module, strict=False)]:
                what = str(errors[0]).strip().splitlines()[0]
                raise JobDocumentError(
                    f"privacy: the mode 'example' can't protect the layer {name or 'at the top'!r} "
                    f"({type(module).__name__}): {what:.300}; use another layer there, or the mode 'update'"
                )
    finally:
        for value in held:
            value.requires_grad_(True)
        model.train(training)


def _own_errors(validator: Any, module: nn.Module) -> list[Any]:
    known = validator.VALIDATORS.get(type(module))
    return [] if known is None else known(module)
