"""The registers of a core in a system on chip: one table, from which all else is made.

The hardware (:mod:`hw.axi`) takes addresses and fields from it; ``ternspike/soc.py`` makes
``docs/registers.md``, the C header and the SystemRDL file of it.
"""
import enum
from dataclasses import dataclass, fields

from amaranth.utils import ceil_log2

from hw.parameters import CoreParameters
from hw.protocol import MAGIC

__all__ = ["VERSION", "WORD_BYTES", "PARAMETER_PREFIX", "ADDRESS_WIDTH", "REGISTERS",
           "RESET", "Access", "Field", "Register"]

#: Version of this table: software checks it before it trusts anything else.
VERSION = 1

#: Bytes of a register.
WORD_BYTES = 4

#: What the names of the registers that tell the core's parameters begin with.
PARAMETER_PREFIX = "CORE_"

# Where those begin; registers to come find a place before them.
_PARAMETERS = 0x40


class Access(enum.Enum):
    """What software may do with a register; its value is SystemRDL's name for it."""

    #: Read.
    READ = "r"
    #: Write.
    WRITE = "w"
    #: Both.
    BOTH = "rw"

    @property
    def readable(self) -> bool:
        """Whether software may read it."""
        return self is not Access.WRITE

    @property
    def writable(self) -> bool:
        """Whether software may write it."""
        return self is not Access.READ


@dataclass(frozen=True)
class Field:
    """Some bits of a register.

    Attributes
    ----------
    name : :class:`str`
        In capitals.
    low, width : :class:`int`
        Its lowest bit, and how many it has.
    meaning : :class:`str`
        A sentence or two.
    reset : :class:`int` or None
        Its value after a reset; None if that depends on the core.
    """

    name:    str
    low:     int
    width:   int
    meaning: str
    reset:   int | None = 0

    @property
    def mask(self) -> int:
        """Its bits in the register."""
        return (1 << self.width) - 1 << self.low


@dataclass(frozen=True)
class Register:
    """One register of 32 bits.

    Attributes
    ----------
    name : :class:`str`
        In capitals.
    offset : :class:`int`
        Its address, in bytes.
    access : :class:`Access`
        What software may do with it.
    meaning : :class:`str`
        What it is for, in a sentence or more.
    fields : tuple of :class:`Field`
        From the lowest bit up. Bits of no field are read as 0, and what is written there is
        ignored.
    """

    name:    str
    offset:  int
    access:  Access
    meaning: str
    fields:  tuple[Field, ...]


def _word(name: str, offset: int, access: Access, meaning: str, *,
          field: str = "VALUE", reset: int | None = 0) -> Register:
    """Return a register that is one field."""
    return Register(name, offset, access, meaning, (Field(field, 0, 32, meaning, reset),))


#: The bit that holds the core in reset.
RESET = Field("RESET", 0, 1,
              "While it is 1, the core is held in reset, and what comes in on the streams is taken "
              "and dropped. All samples and results are lost, the network is kept, all counters "
              "become 0. After it was written 0 it reads 1 for as long as the reset still takes.")

#: All registers, in the order of their addresses.
REGISTERS: tuple[Register, ...] = (
    _word("ID", 0x00, Access.READ, "The letters TSPK, the first in the lowest byte.",
          field="MAGIC", reset=int.from_bytes(MAGIC, "little")),
    _word("VERSION", 0x04, Access.READ, "Version of this table of registers.", reset=VERSION),
    Register("CONTROL", 0x08, Access.BOTH, "What the core is to do.", (RESET,)),
    Register("STATUS", 0x0C, Access.READ, "What the core does.", (
        Field("IDLE", 0, 1, "No sample is in the core, nor a part of one, and it is not in reset: "
                            "CONFIG_DATA may be written.", None),
        Field("BUSY", 1, 1, "A whole sample is in the core.", None),
        Field("PROGRAM", 2, 1, "A network is loaded.", None),
    )),
    _word("CONFIG_ADDRESS", 0x10, Access.BOTH,
          "Which word of the core's memories is written next. It counts up with each word that is "
          "written.", field="ADDRESS"),
    _word("CONFIG_DATA", 0x14, Access.WRITE,
          "Writes a word of the core's memories. Refused unless the core is idle and has a "
          "word at CONFIG_ADDRESS.", field="DATA", reset=None),
    _word("SAMPLE_BEATS", 0x18, Access.READ,
          "Beats of an input sample of the network that is loaded.", reset=None),
    _word("CYCLES", 0x20, Access.READ,
          "Cycles in which the core had a whole sample to work on; wraps around.",
          field="COUNT"),
    _word("SAMPLES_IN", 0x24, Access.READ,
          "Samples that the core has taken as a whole; wraps around.", field="COUNT"),
    _word("RESULTS_OUT", 0x28, Access.READ,
          "Samples of which the core has given all results; wraps around.", field="COUNT"),
    _word("REFUSED", 0x2C, Access.READ,
          "Accesses to registers that were refused; wraps around.", field="COUNT"),
    *(_word(f"{PARAMETER_PREFIX}{parameter.name.upper()}", _PARAMETERS + WORD_BYTES * number,
            Access.READ, f"The core's parameter `{parameter.name}`.", reset=None)
      for number, parameter in enumerate(fields(CoreParameters))),
)

#: Bits of a register's address.
ADDRESS_WIDTH = ceil_log2(max(register.offset for register in REGISTERS) + WORD_BYTES)
