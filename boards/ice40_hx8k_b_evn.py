"""iCE40-HX8K breakout board: block RAMs instead of SPRAM, so that it starts with its network."""
from amaranth_boards.ice40_hx8k_b_evn import ICE40HX8KBEVNPlatform

from boards.board import Board
from boards.ice40 import ICE40

__all__ = ["BOARD"]

BOARD = Board(
    name="ice40_hx8k_b_evn", title="iCE40-HX8K breakout board", chip="iCE40HX8K-CT256",
    platform=ICE40HX8KBEVNPlatform, family=ICE40(ultra_plus=False),
    # Block RAMs are what there is least of, so the membranes lie in registers. One port will do for
    # the weights: the serial line does not stream any.
    core="tiny,weight_depth=768,gain_depth=256,spike_depth=256,readout_depth=64,"
         "block_membranes=false",
    clock=30_000_000,
    device=("--hx8k", "--package", "ct256"),
    block_rams=32, led=("led", ""), loader=("--board", "ice40_generic"),
    notes="Serial line: the second of its two USB ports.")
