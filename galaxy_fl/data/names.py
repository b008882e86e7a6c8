"""Names of data sets, which can be checked before anything is loaded."""

from __future__ import annotations

from galaxy_fl.exceptions import DataError

__all__ = ["TORCHVISION", "check_data_name"]

TORCHVISION = {
    "cifar-10": ("CIFAR10", "cifar-10-batches-py"),
    "fashion-mnist": ("FashionMNIST", "FashionMNIST/raw"),
    "mnist": ("MNIST", "MNIST/raw"),
}
"""By name torchvision's class, and the folder in which it keeps its files."""


def check_data_name(name: str) -> None:
    """Make sure that a name is a known data set's, or of the form `module:function`.

    Raises:
        DataError: it is neither.
    """
    if name not in ("digits", *TORCHVISION) and not all(name.partition(":")):
        known = ", ".join(["digits", *TORCHVISION])
        raise DataError(f"unknown data set {name!r}: use one of {known}, or module:function of your own")
