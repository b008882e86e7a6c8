"""Local training: from the round's vector and a client's own data to the trained vector.

Read `worker.py` first (what the rest of Galaxy calls), then `trainer.py` (what happens inside).
Only `models`, `losses`, `optimizers`, `trainer` and `serving` import torch; they run in the worker.
"""
