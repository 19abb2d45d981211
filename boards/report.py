"""What nextpnr says of a placed and routed design."""
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from boards.errors import BoardError
from boards.family import Family

__all__ = ["Clock", "Path", "Report", "read_report"]

#: How far, in parts of it, a constraint may be from what was wanted: nextpnr counts picoseconds.
ROUNDING = 0.01


@dataclass(frozen=True)
class Clock:
    """A clock in MHz: what was asked of it, and what it can bear."""

    name:     str
    wanted:   float
    achieved: float

    @property
    def margin(self) -> float:
        """By which part of what was wanted it can be faster; below 0 if it must be slower."""
        return self.achieved / self.wanted - 1


@dataclass(frozen=True)
class Path:
    """The slowest path between registers.

    Attributes
    ----------
    start, end : :class:`str`
        Names of cells.
    delay : :class:`float`
        In ns.
    routing : :class:`float`
        The part of it that are wires, in ns.
    places : tuple of tuples
        Columns and rows of the tiles that it visits.
    """

    start:   str
    end:     str
    delay:   float
    routing: float
    places:  tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Report:
    """What a design takes, and how fast it is.

    Attributes
    ----------
    used : dict
        Sites that are used and that there are, by the names of :attr:`Family.sites`.
    clocks : tuple of :class:`Clock`
        All clocks.
    path : :class:`Path`
        The slowest path of the slowest clock; None where there is none.
    """

    used:   dict[str, tuple[int, int]]
    clocks: tuple[Clock, ...]
    path:   Path | None

    @property
    def slowest(self) -> Clock:
        """The clock with the smallest margin."""
        return min(self.clocks, key=lambda clock: clock.margin)

    @property
    def met(self) -> bool:
        """Every clock is as fast as it was asked to be."""
        return all(clock.margin >= 0 for clock in self.clocks)

    def to_dict(self) -> dict[str, Any]:
        """Return it for JSON."""
        return {
            "used": {name: {"used": used, "available": available}
                     for name, (used, available) in self.used.items()},
            "clocks": [{"name": clock.name, "wanted": round(clock.wanted, 3),
                        "achieved": round(clock.achieved, 3), "margin": round(clock.margin, 4)}
                       for clock in self.clocks],
            "critical_path": None if self.path is None else {
                "start": self.path.start, "end": self.path.end,
                "delay": round(self.path.delay, 3), "routing": round(self.path.routing, 3)},
        }


def read_report(report: Mapping[str, Any], family: Family, frequency: float,
                types: Mapping[str, int]) -> Report:
    """Return what is of interest in the report that nextpnr writes as JSON.

    Parameters
    ----------
    report : dict
        As nextpnr wrote it.
    family : :class:`~boards.family.Family`
        Whose sites are counted.
    frequency : :class:`float`
        MHz that were asked of every clock.
    types : dict
        How many cells of each type the netlist has.

    Raises
    ------
    BoardError
        If there is no clock, or one that nothing was asked of.
    """
    clocks = tuple(Clock(_net(name), clock["constraint"], clock["achieved"])
                   for name, clock in report["fmax"].items())
    if not clocks:
        raise BoardError("nextpnr found no clock in the design")
    for clock in clocks:
        if abs(clock.wanted / frequency - 1) > ROUNDING:
            raise BoardError(f"Clock {clock.name} is constrained to {clock.wanted:.4g} MHz, not to "
                             f"{frequency:.4g} MHz: its constraint did not reach nextpnr")
    sites = report["utilization"]
    used = {}
    for name, kinds in family.sites.items():
        known = [sites[kind] for kind in kinds if kind in sites]
        used[name] = (sum(site["used"] for site in known), known[0]["available"] if known else 0)
    if family.flipflops:
        # A logic cell is a LUT and a flip-flop, and counted as one.
        count = sum(number for kind, number in types.items() if kind.startswith(family.flipflops))
        used["FF"] = (count, used["LUT"][1])
    # Chips of one family differ in what they have.
    there = {name: used[name] for name in ("LUT", "FF", "BRAM", "DSP", "SPRAM")
             if name in used and used[name][1]}
    return Report(there, clocks, _slowest_path(report))


def _slowest_path(report: Mapping[str, Any]) -> Path | None:
    """Return the slowest path that starts and ends at a clock."""
    paths = [_path(path["path"]) for path in report["critical_paths"]
             if "<async>" not in (path["from"], path["to"]) and path["path"]]
    return max(paths, key=lambda path: path.delay, default=None)


def _path(steps: list[Mapping[str, Any]]) -> Path:
    """Return a path of nextpnr's steps from cell to cell."""
    places = [tuple(step[end]["loc"]) for step in steps for end in ("from", "to")]
    return Path(
        _cell(steps[0]["from"]["cell"]), _cell(steps[-1]["to"]["cell"]),
        sum(step["delay"] for step in steps),
        sum(step["delay"] for step in steps if step["type"] == "routing"),
        tuple(place for place, before in zip(places, [None, *places], strict=False)
              if place != before))


def _net(name: str) -> str:
    """Return a clock's name without what nextpnr adds when it makes it global."""
    return re.sub(r"^\$glbnet\$|\$SB_IO_IN|_?\$glb_clk", "", name)


def _cell(name: str) -> str:
    """Return the register or memory that a cell was: without the types that Yosys adds."""
    return re.sub(r"(_(SB|TRELLIS|DFF|DP16KD|MULT|LUT\d|CCU2C|PFUMX|L6MUX|ALU|BSRAM|MUX2)[A-Z0-9]*"
                  r".*|\$.*)$", "", name) or name
