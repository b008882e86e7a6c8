"""Data sets by name, and the ways to divide one among clients.

`partition` needs numpy only; `datasets` and `shards` give torch data sets and import torch.
"""
