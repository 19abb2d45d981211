"""From an integer network to a program for a core, and its cycles without running it."""
