"""Recomputing what was committed: audit, challenge, watchtower."""
