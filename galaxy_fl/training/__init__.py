"""Local training: from the round's vector and a client's own data to the trained vector.

Read `worker.py` first (what the rest of Galaxy calls), then `trainer.py` (what happens inside).
`worker`, `forkserver`, `served_data` and the formats (`specification`, `task`, `results`) do without torch; the others
import it, and run in the worker.
"""
