"""The API that PFL's users know, a face over `galaxy_fl`'s own: describe a job, submit it, take part in it, serve it.

Read `job_manager.py` first, then `trainer_controller.py` and `server.py`; `participation.py` is what those two share.
"""
