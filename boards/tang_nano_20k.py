"""Tang Nano 20K: a Gowin GW2AR-18 with a serial line over USB.

amaranth-boards has no platform for it; its pins are in ``constraints/``.
"""
from amaranth.vendor import GowinPlatform

from boards.board import Board
from boards.gowin import Gowin

__all__ = ["BOARD"]


class _Platform(GowinPlatform):
    """The chip, without pins."""

    part        = "GW2AR-LV18QN88C8/I7"
    family      = "GW2AR-18C"
    default_clk = "clk27"
    resources   = []
    connectors  = []


BOARD = Board(
    name="tang_nano_20k", title="Tang Nano 20K", chip="GW2AR-LV18QN88C8/I7",
    platform=_Platform,
    family=Gowin(family="gw2a", chip="GW2A-18C", vco=(500_000_000, 1_250_000_000)),
    core="small,weight_depth=512,gain_depth=512", clock=54_000_000,
    device=("--device", "GW2AR-LV18QN88C8/I7"),
    block_rams=46, led=("led", ""), loader=("--board", "tangnano20k"),
    pack_options=("--sspi_as_gpio", "--mspi_as_gpio"),
    notes="Serial line: the second of its two USB ports.")
