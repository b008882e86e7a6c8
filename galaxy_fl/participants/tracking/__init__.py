"""Trackers: what a participant measures, round by round, for TensorBoard, for MLflow, and as CSV."""

from __future__ import annotations

from galaxy_fl.participants.tracking.destination import trackers_of, tracking
from galaxy_fl.participants.tracking.measured import About
from galaxy_fl.participants.tracking.tracker import Tracker

__all__ = ["About", "Tracker", "trackers_of", "tracking"]
