"""Describe a job in which clients learn from each other's models and average nothing: python model.py"""

from torch import nn

import galaxy_fl as galaxy


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))

    def forward(self, x):
        return self.layers(x)


if __name__ == "__main__":
    train = galaxy.Train(learning_rate=0.1, batch_size=32, local_epochs=2)
    job = galaxy.Job(model=Net, rounds=6, train=train, method=galaxy.Distillation(alpha=0.5))
    print("job", galaxy.submit(job, clients=3))
