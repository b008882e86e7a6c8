"""Describe a private job and submit it: python model.py"""

from torch import nn

import galaxy_fl as galaxy


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))

    def forward(self, x):
        return self.layers(x)


if __name__ == "__main__":
    job = galaxy.Job(
        model=Net,
        rounds=3,
        train=galaxy.Train(learning_rate=0.5, batch_size=64, local_epochs=2),
        privacy={"mode": "example", "max_grad_norm": 1.0, "noise_multiplier": 1.5, "delta": 1e-5},
    )
    print("job", galaxy.submit(job, clients=4))
