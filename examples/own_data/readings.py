"""A data set of one's own: a file of comma-separated readings, the last of which is what is to be predicted."""

import csv

import torch
from torch.utils.data import Dataset


class Readings(Dataset):
    """Samples of four readings and what a machine did next, 1 for a failure."""

    def __init__(self, path):
        with open(path, newline="") as file:
            rows = [[float(value) for value in row] for row in csv.reader(file)]
        self.samples = torch.tensor([row[:-1] for row in rows])
        self.targets = torch.tensor([int(row[-1]) for row in rows])

    def __len__(self):
        return len(self.targets)

    def __getitem__(self, index):
        return self.samples[index], self.targets[index]
