"""The source of a model that computes its loss itself, and a data set of dicts for it."""

import torch
from torch import nn
from torch.utils.data import Dataset


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 3)
        self.drop = nn.Dropout(0.1)

    @staticmethod
    def collate(samples):
        parts = [torch.cat([sample["image"], torch.tensor([sample["meta"]["age"]])]) for sample in samples]
        return {"input": torch.stack(parts), "label": torch.tensor([sample["label"] for sample in samples])}

    def training_step(self, batch):
        output = self.layer(self.drop(batch["input"]))
        loss = nn.functional.cross_entropy(output, batch["label"])
        return {"loss": loss, "preds": output, "target": batch["label"], "longest": output.detach().norm(dim=1).max()}


class Studies(Dataset):
    def __init__(self, seed, samples):
        self.images = torch.rand(samples, 3, generator=torch.Generator().manual_seed(seed))

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        image = self.images[index]
        return {"image": image, "meta": {"age": 0.1 * index}, "name": f"patient {index}", "label": int(image.argmax())}
