"""Describe a job whose model makes batches and computes its loss itself, and submit it: python model.py"""

import torch
from torch import nn

import galaxy_fl as galaxy


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.day = nn.Linear(2, 8)
        self.both = nn.Linear(8 + 1, 1)

    @staticmethod
    def collate(samples):
        """Make a batch of a list of samples, whose series differ in length: they are padded to the longest."""
        series = [sample["series"] for sample in samples]
        return {
            "series": nn.utils.rnn.pad_sequence(series, batch_first=True),
            "days": torch.tensor([len(each) for each in series]),
            "age": torch.tensor([(sample["age"] - 50) / 20 for sample in samples]),
            "came_back": torch.tensor([float(sample["came_back"]) for sample in samples]),
        }

    def forward(self, series, days, age):
        stayed = torch.arange(series.shape[1], device=days.device) < days[:, None]  # the rest is padding
        mean = (self.day(series) * stayed[:, :, None]).sum(dim=1) / days[:, None]
        return self.both(torch.cat([mean, age[:, None]], dim=1))[:, 0]

    def training_step(self, batch):
        output = self(batch["series"], batch["days"], batch["age"])
        return nn.functional.binary_cross_entropy_with_logits(output, batch["came_back"])

    def validation_step(self, batch):
        output = self(batch["series"], batch["days"], batch["age"])
        loss = nn.functional.binary_cross_entropy_with_logits(output, batch["came_back"])
        right = (output > 0) == (batch["came_back"] > 0.5)
        return {"loss": loss, "accuracy": right.float().mean(), "preds": output, "target": batch["came_back"]}


if __name__ == "__main__":
    train = galaxy.Train(
        optimizer="adam",
        learning_rate=0.05,
        batch_size=8,
        accumulate=2,
        clip_norm=1.0,
        local_epochs=5,
    )
    print("job", galaxy.submit(galaxy.Job(model=Net, rounds=4, train=train), clients=2))
