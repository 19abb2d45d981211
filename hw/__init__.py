"""Gateware: the ternary spiking core and its blocks, in Amaranth alone."""
