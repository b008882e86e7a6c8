"""Describe a job and submit it: python model.py"""

from torch import nn

import galaxy_fl as galaxy


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))

    def forward(self, x):
        return self.layers(x)


if __name__ == "__main__":
    job = galaxy.Job(model=Net, rounds=5, train=galaxy.Train(learning_rate=0.1, batch_size=32))
    print("job", galaxy.submit(job, clients=2))
