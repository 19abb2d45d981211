"""FPGA boards: pins, clock and reset around a linked core, and what makes a bitstream of it."""
