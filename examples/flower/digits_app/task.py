"""Model, data and training, as every Flower app has them; nothing here knows of a ledger."""

import torch
from torch import nn
from torch.utils.data import DataLoader, Subset

from galaxy_fl.data.datasets import load  # 1,797 images of 8x8, which come with Galaxy


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))

    def forward(self, x):
        return self.layers(x)


def initial():
    """Make the model that round 1 starts from: the same in the app and in `register.py`."""
    torch.manual_seed(0)
    return Net()


def partition(number, count):
    """Return a client's part of the training images."""
    images = load("digits", "train")
    return Subset(images, range(number, len(images), count))


def train(model, data, epochs, learning_rate):
    """Train a model, and return the mean loss of the last epoch."""
    optimizer = torch.optim.SGD(model.parameters(), learning_rate)
    loss = nn.CrossEntropyLoss()
    for _ in range(epochs):
        total = 0.0
        for images, labels in DataLoader(data, batch_size=32, shuffle=True):
            optimizer.zero_grad()
            found = loss(model(images), labels)
            found.backward()
            optimizer.step()
            total += found.item() * len(labels)
    return total / len(data)


def test(model):
    """Return the share of test images that a model tells rightly."""
    model.eval()
    with torch.no_grad():
        right = sum((model(x).argmax(1) == y).sum().item() for x, y in DataLoader(load("digits", "test"), 256))
    return right / len(load("digits", "test"))
