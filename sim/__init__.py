"""Simulation: the core's Verilog under Verilator and cocotb, blocks in Amaranth's simulator."""
