"""Describe a job with class weights, because failures are rare, and submit it: python model.py"""

from torch import nn

import galaxy_fl as galaxy


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(4, 16), nn.Tanh(), nn.Linear(16, 2))

    def forward(self, x):
        return self.layers(x)


if __name__ == "__main__":
    train = galaxy.Train(
        loss="cross_entropy",
        loss_options={"weight": [1.0, 3.0]},
        optimizer="adam",
        learning_rate=0.02,
        batch_size=16,
        local_epochs=2,
    )
    print("job", galaxy.submit(galaxy.Job(model=Net, rounds=6, train=train), clients=2))
