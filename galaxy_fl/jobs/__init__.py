"""What a job is: its author's description (`job.py`), its document, its model, how its clients train."""
