"""Sealed content: readable for a job's members alone, wherever it lies (protocol section 10).

Read `sealing.py` first, how a file is sealed, then `wraps.py`, how its key gets to the members.
"""
