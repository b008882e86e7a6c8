"""A whole federated job on one machine."""
