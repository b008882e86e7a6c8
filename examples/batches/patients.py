"""A data set whose samples are dicts: two inputs, a text, and what is to be predicted."""

import torch
from torch.utils.data import Dataset


class Patients(Dataset):
    """Made-up patients of a ward: two measurements a day, their age, and whether they came back."""

    def __init__(self, ward, patients):
        drawn = torch.Generator().manual_seed(ward)
        days = torch.randint(3, 9, (patients,), generator=drawn).tolist()
        self.series = [torch.randn(count, 2, generator=drawn) for count in days]
        self.ages = torch.randint(20, 90, (patients,), generator=drawn)

    def __len__(self):
        return len(self.ages)

    def __getitem__(self, index):
        series, age = self.series[index], int(self.ages[index])
        came_back = bool(series.mean() + (age - 55) / 30 > 0)
        return {"name": f"patient {index}", "series": series, "age": age, "came_back": came_back}
