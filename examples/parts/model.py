"""Describe a job in which a part of the model stays with each client: python model.py fedbn, or fedper, or fedavg"""

import sys

import torch
from torch import nn

import galaxy_fl as galaxy


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem, self.bn1 = nn.Linear(64, 64), nn.BatchNorm1d(64)
        self.body, self.bn2 = nn.Linear(64, 32), nn.BatchNorm1d(32)
        self.head = nn.Linear(32, 10)

    def forward(self, x):
        x = torch.relu(self.bn1(self.stem(x.flatten(1))))
        return self.head(torch.relu(self.bn2(self.body(x))))


PERSONAL = {"fedbn": ["bn*"], "fedper": ["head.*"], "fedavg": []}

if __name__ == "__main__":
    train = galaxy.Train(learning_rate=0.05, batch_size=16)
    job = galaxy.Job(model=Net, rounds=25, train=train, personal=PERSONAL[sys.argv[1]])
    print("job", galaxy.submit(job, clients=4))
