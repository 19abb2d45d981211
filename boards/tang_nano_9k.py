"""Tang Nano 9K: a Gowin GW1NR-9 with a serial line over USB."""
from amaranth_boards.tang_nano_9k import TangNano9kPlatform

from boards.board import Board
from boards.gowin import Gowin

__all__ = ["BOARD"]

BOARD = Board(
    name="tang_nano_9k", title="Tang Nano 9K", chip="GW1NR-LV9QN88PC6/I5",
    platform=TangNano9kPlatform,
    family=Gowin(family="gw1n", chip="GW1N-9C", vco=(400_000_000, 1_200_000_000)),
    core="tiny,weight_depth=2048,gain_depth=1024,spike_depth=512", clock=54_000_000,
    device=("--device", "GW1NR-LV9QN88PC6/I5"),
    block_rams=26, led=("led", ""), loader=("--board", "tangnano9k"),
    # The flash's pins are pins like others once the chip is configured.
    pack_options=("--sspi_as_gpio", "--mspi_as_gpio"),
    notes="Serial line: the second of its two USB ports.")
