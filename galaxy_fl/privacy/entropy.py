"""Random numbers from the operating system's entropy alone: nothing that anybody could seed, store or compute again.

torch's generators will not do: the CPU's keeps 32 bits of its seed, so that whoever knows all but one example could try
every seed and see which noise fits. The kernel's generator is cryptographic, and gives 200 MB a second.
"""

from __future__ import annotations

import os

import numpy as np
import numpy.typing as npt

__all__ = ["gaussians", "uniforms"]

Floats = npt.NDArray[np.float64]


def uniforms(count: int) -> Floats:
    """Return numbers from (0, 1], multiples of 2**-53."""
    words = np.frombuffer(os.urandom(8 * count), np.uint64) >> np.uint64(11)
    return (words.astype(np.float64) + 1.0) * 2.0**-53


def gaussians(count: int) -> Floats:
    """Return numbers of the standard normal distribution (Box and Muller, 1958), up to 8.6 in magnitude.

    Rarer values than these, one in 10**17, do not occur.
    """
    half = (count + 1) // 2
    radius = np.sqrt(-2.0 * np.log(uniforms(half)))
    angle = 2.0 * np.pi * uniforms(half)
    return np.concatenate([radius * np.cos(angle), radius * np.sin(angle)])[:count]
