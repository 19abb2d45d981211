"""OrangeCrab r0.2 with an LFE5U-25F, on a Feather's outline."""
from amaranth_boards.orangecrab_r0_2 import OrangeCrabR0_2_25FPlatform

from boards.board import Board
from boards.ecp5 import ECP5

__all__ = ["BOARD"]

BOARD = Board(
    name="orangecrab", title="OrangeCrab r0.2 25F", chip="LFE5U-25F-8MG285",
    platform=OrangeCrabR0_2_25FPlatform, family=ECP5(),
    core="small,gain_depth=512", clock=80_000_000,
    device=("--25k", "--package", "CSFBGA285", "--speed", "8"),
    block_rams=56, led=("rgb_led", "g"), loader=("--board", "orangeCrab"),
    # Its boot loader reads the flash at this speed.
    pack_options=("--freq", "38.8"),
    notes="Serial line: an adapter of 3.3 V on pins 0 (to the board) and 1, as on any Feather.")
