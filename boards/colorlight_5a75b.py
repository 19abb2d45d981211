"""Colorlight 5A-75B r7.0: a receiver card of LED walls with an LFE5U-25F."""
from amaranth_boards.colorlight_5a75b_r7_0 import Colorlight_5A75B_R70Platform

from boards.board import Board
from boards.ecp5 import ECP5

__all__ = ["BOARD"]

BOARD = Board(
    name="colorlight_5a75b", title="Colorlight 5A-75B r7.0", chip="LFE5U-25F-6BG256",
    platform=Colorlight_5A75B_R70Platform, family=ECP5(),
    core="small,gain_depth=512", clock=75_000_000,
    device=("--25k", "--package", "CABGA256", "--speed", "6"),
    block_rams=56, led=("idle_led", ""), loader=("--board", "colorlight", "--cable", "ft232"),
    notes="Serial line: an adapter of 3.3 V on J19, KEY+ (to the board) and DATA_LED-. The LED of "
          "the board is that line; pin 1 of J1 tells of an idle core (5 V).")
