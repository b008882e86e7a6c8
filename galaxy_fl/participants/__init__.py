"""Whoever takes part in jobs: its data, its threads, its reports."""
