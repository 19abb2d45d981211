"""The table of registers: sound in itself, and big enough for what it names."""

from dataclasses import fields

import pytest

from hw.parameters import CoreParameters
from hw.protocol import MAGIC
from hw.registers import ADDRESS_WIDTH, PARAMETER_PREFIX, REGISTERS, RESET, WORD_BYTES, Access


def test_offsets():
    offsets = [register.offset for register in REGISTERS]
    assert offsets == sorted(set(offsets))
    assert all(offset % WORD_BYTES == 0 for offset in offsets)
    assert max(offsets) < 1 << ADDRESS_WIDTH <= 2 * (max(offsets) + WORD_BYTES)


def test_names():
    names = [register.name for register in REGISTERS]
    assert len(set(names)) == len(names)
    for register in REGISTERS:
        parts = [field.name for field in register.fields]
        assert len(set(parts)) == len(parts)
        assert all(name.isidentifier() and name.isupper() for name in (register.name, *parts))


@pytest.mark.parametrize("register", REGISTERS, ids=lambda register: register.name)
def test_fields(register):
    taken = 0
    assert register.fields
    for field in register.fields:
        assert field.width > 0 and not field.mask & taken
        assert field.mask == sum(1 << bit for bit in range(field.low, field.low + field.width))
        assert field.mask > taken                             # from the lowest bit up
        taken |= field.mask
        assert field.reset is None or field.reset >> field.width == 0
        assert field.reset is None or register.access.readable
        assert field.meaning.endswith(".") and '"' not in field.meaning
    assert taken < 1 << 8 * WORD_BYTES
    assert register.meaning.endswith(".") and '"' not in register.meaning


def test_every_parameter_of_a_core_has_a_register():
    told = [register.name.removeprefix(PARAMETER_PREFIX).lower() for register in REGISTERS
            if register.name.startswith(PARAMETER_PREFIX)]
    assert told == [field.name for field in fields(CoreParameters)]


def test_what_software_relies_on():
    """Offsets of version 1; others would be version 2."""
    offsets = {register.name: register.offset for register in REGISTERS}
    assert (offsets["ID"], offsets["VERSION"]) == (0, 4)
    assert (offsets["CONTROL"], offsets["STATUS"]) == (8, 12)
    assert (offsets["CONFIG_ADDRESS"], offsets["CONFIG_DATA"]) == (16, 20)
    assert offsets["CORE_BANKS"] == 0x40
    assert RESET.mask == 1
    assert REGISTERS[0].fields[0].reset == int.from_bytes(MAGIC, "little") == 0x4B505354


def test_access():
    assert [(access.readable, access.writable) for access in Access] == [
        (True, False), (False, True), (True, True)]
