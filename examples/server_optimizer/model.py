"""Describe a job whose server descends by Adam, and whose steps everybody can check: python model.py"""

from torch import nn

import galaxy_fl as galaxy


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Linear(32, 10))

    def forward(self, x):
        return self.layers(x)


if __name__ == "__main__":
    train = galaxy.Train(learning_rate=0.05, batch_size=32, local_epochs=1)
    method = galaxy.Averaging("fedadam", learning_rate=0.03)
    job = galaxy.Job(model=Net, rounds=10, train=train, method=method)
    print("job", galaxy.submit(job, clients=2))
