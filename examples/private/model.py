"""Describe a private job and submit it: python model.py"""

from torch import nn

import galaxy_fl as galaxy


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.AvgPool2d(2), nn.Flatten(), nn.Linear(16, 10))

    def forward(self, x):
        return self.layers(x)


if __name__ == "__main__":
    job = galaxy.Job(
        model=Net,
        rounds=3,
        train=galaxy.Train(learning_rate=1.0, batch_size=16, local_epochs=5),
        weighting="uniform",
        privacy={"mode": "update", "clip": 2.0, "noise_multiplier": 1.0, "delta": 1e-5, "stop_at_epsilon": 40.0},
    )
    print("job", galaxy.submit(job, clients=20))
