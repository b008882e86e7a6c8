"""Describe a job and submit it: python model.py, or python model.py best_model_pars_JOB.safetensors to continue"""

import sys

from torch import nn

import galaxy_fl as galaxy


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))

    def forward(self, x):
        return self.layers(x)


if __name__ == "__main__":
    start = sys.argv[1] if len(sys.argv) > 1 else None
    rate = 0.1 if start is None else 0.02  # a model that has learnt most goes on in smaller steps
    train = galaxy.Train(learning_rate=rate, batch_size=32)
    print("job", galaxy.submit(galaxy.Job(model=Net, rounds=50, train=train, start=start), clients=1))
