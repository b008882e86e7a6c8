"""Differential privacy: noise, clipping, and the account of what a client has spent."""
