"""Asynchronous client of a Parley gateway."""
