"""Make galaxy_fl/data/digits.npz from scikit-learn's copy of the UCI handwritten digits.

scikit-learn is not needed otherwise, so run this in a virtual environment of its own that has it:

    python scripts/make_digits.py galaxy_fl/data/digits.npz

Source: E. Alpaydin, C. Kaynak, "Optical Recognition of Handwritten Digits", UCI Machine Learning
Repository, 1998, https://doi.org/10.24432/C50P49, CC BY 4.0. 1,797 images of 8x8 pixels of 0 to 16.
"""

from __future__ import annotations

import sys

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

TEST_SAMPLES = 360
SPLIT_SEED = 0


def main(target: str) -> None:
    digits = load_digits()
    train_images, test_images, train_labels, test_labels = train_test_split(
        digits.images.astype(np.uint8),
        digits.target.astype(np.uint8),
        test_size=TEST_SAMPLES,
        random_state=SPLIT_SEED,
        stratify=digits.target,
    )
    np.savez_compressed(
        target,
        train_images=train_images,
        train_labels=train_labels,
        test_images=test_images,
        test_labels=test_labels,
    )


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: make_digits.py TARGET.npz")
    main(sys.argv[1])
