"""The boards by name."""
from boards import (
    colorlight_5a75b,
    ice40_hx8k_b_evn,
    icebreaker,
    orangecrab,
    tang_nano_9k,
    tang_nano_20k,
    ulx3s,
    upduino_v3,
)
from boards.board import Board
from boards.errors import BoardError

__all__ = ["BOARDS", "find_board"]

#: All boards, from the smallest chip to the largest.
BOARDS = {file.BOARD.name: file.BOARD for file in (
    icebreaker, upduino_v3, ice40_hx8k_b_evn, tang_nano_9k, tang_nano_20k, colorlight_5a75b,
    orangecrab, ulx3s)}


def find_board(name: str) -> Board:
    """Return the board of a name.

    Raises
    ------
    BoardError
        If there is none.
    """
    if name not in BOARDS:
        raise BoardError(f"Unknown board {name!r}; known: {', '.join(BOARDS)}")
    return BOARDS[name]
