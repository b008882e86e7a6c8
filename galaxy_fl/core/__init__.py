"""The API that PFL's users know: describe a job, submit it, take part in it, serve it.

Read `job_manager.py` first, then `trainer_controller.py` and `server.py`; `participation.py` is what those two share.
"""
