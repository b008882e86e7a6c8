"""Cluster mode: clients on any machines meet at a server's HTTP API.

Read `messages.py` first, what they tell each other, then `client.py` and `app.py`, the two sides of it.
"""

from __future__ import annotations

from galaxy_fl.modes.cluster.mode import MODE

__all__ = ["MODE"]
