"""UPduino v3: an iCE40 UP5K on a small board, without a serial line of its own."""
from amaranth_boards.upduino_v3 import UpduinoV3Platform

from boards.board import Board
from boards.ice40 import ICE40

__all__ = ["BOARD"]


class _Platform(UpduinoV3Platform):
    """The board with its jumper OSC closed.

    The chip's own oscillator is off by up to 10 %, which no serial line bears.
    """

    default_clk = "clk12"


BOARD = Board(
    name="upduino_v3", title="UPduino v3", chip="iCE40UP5K-SG48",
    platform=_Platform, family=ICE40(ultra_plus=True),
    # With the link, tiny takes 98 % of the chip, for which nextpnr finds no placement. Half the
    # lanes and shorter queues leave a tenth of it; all numbers stay as wide as in tiny.
    core="tiny,lanes=4,queue_depth=8,step_width=5",
    clock=24_000_000,
    device=("--up5k", "--package", "sg48"),
    block_rams=30, led=("rgb_led", "g"), loader=("--board", "ice40_generic", "--cable", "ft232"),
    initial_weights=False,
    notes="Close the jumper OSC (12 MHz to pin 20). Serial line: an adapter of 3.3 V on pins 28 "
          "(to the board) and 38.")
