"""A whole federated job on one machine."""

__all__ = ["LYING_ROUND"]

LYING_ROUND = 2
"""The round in which a server lies that is to lie."""
