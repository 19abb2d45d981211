"""ULX3S with an LFE5U-85F: the board of `medium`."""
from amaranth_boards.ulx3s import ULX3S_85F_Platform

from boards.board import Board
from boards.ecp5 import ECP5

__all__ = ["BOARD"]

BOARD = Board(
    name="ulx3s", title="ULX3S 85F", chip="LFE5U-85F-6BG381",
    platform=ULX3S_85F_Platform, family=ECP5(), core="medium", clock=80_000_000,
    device=("--85k", "--package", "CABGA381", "--speed", "6"),
    block_rams=208, led=("led", ""), loader=("--board", "ulx3s"),
    notes="Serial line: the USB port US1.")
