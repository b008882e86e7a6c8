"""Where participants meet without a chain: a folder (standalone), or a server's HTTP API over a folder (cluster).

Read `mode.py` first, what every mode is, then `job_folder.py`, a job's state on disk.
"""
