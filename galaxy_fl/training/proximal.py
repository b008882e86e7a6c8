"""FedProx: a pull towards the weights that a round began with."""

from __future__ import annotations

from collections.abc import Collection

import torch
from torch import nn

__all__ = ["Proximal"]


class Proximal:
    """The proximal term of Li, Sahu, Zaheer, Sanjabi, Talwalkar, Smith: "Federated Optimization in Heterogeneous
    Networks" (MLSys 2020).

    A client minimises F(w) + mu/2 · ||w - w_global||², so that it does not go far from the others on data unlike
    theirs. The gradient of the term, mu · (w - w_global), is added to that of the loss when a step is taken; it depends
    on no sample, so the reported loss is the data's alone.

    Args:
        model: With the weights that the round begins with, w_global.
        mu: At least 0.
        shared: The names of the parameters that are averaged; None for all. Those that are not trained are left out.
    """

    def __init__(self, model: nn.Module, mu: float, shared: Collection[str] | None = None) -> None:
        self._mu = mu
        # Of a parameter with several names, one that is shared is enough.
        pulled = {
            parameter: parameter.detach().clone()
            for name, parameter in model.named_parameters(remove_duplicate=False)
            if parameter.requires_grad and (shared is None or name in shared)
        }
        self._begun = list(pulled.items())

    @torch.no_grad()
    def pull(self) -> None:
        """Add the term's gradient to those that the parameters have."""
        for parameter, begun in self._begun:
            pull = (parameter - begun).mul_(self._mu)
            parameter.grad = pull if parameter.grad is None else pull.add_(parameter.grad)
