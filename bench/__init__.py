"""Measurements: what Ternspike costs and how fast it is."""
