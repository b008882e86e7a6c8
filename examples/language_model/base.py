"""Train a small model on one poet, as a stand-in for the base that you have: python base.py

What it writes is the folder that transformers' save_pretrained makes of any model.
"""

import torch
from model import Net
from transformers import AutoConfig, AutoModelForCausalLM

from galaxy_fl.lm import Texts, poems

STEPS = 100

if __name__ == "__main__":
    torch.manual_seed(0)
    torch.set_num_threads(1)
    settings = dict(Net.config)
    base = AutoModelForCausalLM.from_config(AutoConfig.for_model(settings.pop("model_type"), **settings))
    samples = Texts(poems("shakespeare"), length=64)
    optimizer = torch.optim.AdamW(base.parameters(), lr=0.01)
    for _ in range(STEPS):
        batch = Net.collate([samples[i] for i in torch.randint(len(samples), (16,)).tolist()])
        labels = batch["input_ids"].masked_fill(batch["attention_mask"] == 0, -100)
        loss = base(**batch, labels=labels).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    base.save_pretrained("base")
    print(f"base: loss {loss.item():.2f} after {STEPS} steps")
