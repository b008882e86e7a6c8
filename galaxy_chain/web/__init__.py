"""Health and metrics of a participant."""
