"""iCEBreaker: an iCE40 UP5K with a serial line over USB."""
from amaranth_boards.icebreaker import ICEBreakerPlatform

from boards.board import Board
from boards.ice40 import ICE40

__all__ = ["BOARD"]

BOARD = Board(
    name="icebreaker", title="iCEBreaker", chip="iCE40UP5K-SG48",
    platform=ICEBreakerPlatform, family=ICE40(ultra_plus=True),
    # With the link, tiny takes 98 % of the chip, for which nextpnr finds no placement. Half the
    # lanes and shorter queues leave a tenth of it; all numbers stay as wide as in tiny.
    core="tiny,lanes=4,queue_depth=8,step_width=5",
    clock=24_000_000,
    device=("--up5k", "--package", "sg48"),
    block_rams=30, led=("led_g", ""), loader=("--board", "ice40_generic"),
    pll_pad=True, initial_weights=False,
    notes="Serial line: the second of its two USB ports.")
