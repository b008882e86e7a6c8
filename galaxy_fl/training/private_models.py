"""What a private job asks of a model. Whatever it can't protect is refused, by name, before anybody trains."""

from __future__ import annotations

import math

from torch import nn

from galaxy_fl.exceptions import JobDocumentError
from galaxy_fl.jobs.privacy import Privacy, UpdatePrivacy
from galaxy_fl.vectors import Layout

__all__ = ["check_private_model"]

MOST_STEPS = 2.0**30
"""Steps of the fixed point that the noise may deviate: int32 has twice that at each side."""


def check_private_model(model: nn.Module, privacy: Privacy | None, layout: Layout) -> None:
    """Make sure that a job's privacy covers all that leaves a client.

    Args:
        model: The job's.
        privacy: The job's; None for none, which every model suits.
        layout: What of the model is in its vectors.

    Raises:
        JobDocumentError: something of the model isn't covered; names it.
    """
    if privacy is None:
        return
    if not isinstance(privacy, UpdatePrivacy):
        raise JobDocumentError("privacy: the mode 'example' is not there yet: use the mode 'update'")
    _check_buffers(model, layout)
    if isinstance(privacy, UpdatePrivacy):
        _check_noise(privacy, layout)


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


def _check_noise(privacy: UpdatePrivacy, layout: Layout) -> None:
    """Make sure that the fixed point of each tensor can carry its noise."""
    deviation = privacy.noise_multiplier * privacy.clip
    for tensor in layout.tensors:
        steps = math.ldexp(deviation, tensor.fraction_bits)
        if not 1 <= steps <= MOST_STEPS:
            raise JobDocumentError(
                f"privacy: noise of deviation {deviation:g} (noise_multiplier times clip) is {steps:.3g} steps of the "
                f"fixed point of {tensor.name!r}, expected 1 to {MOST_STEPS:.0f}: change clip or noise_multiplier, or "
                f"the tensor's fraction_bits, {tensor.fraction_bits}"
            )
