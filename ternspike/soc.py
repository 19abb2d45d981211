"""What a system on chip needs beside the Verilog, made of the one table of registers.

``python -m ternspike.soc > docs/registers.md`` writes the registers' page anew.
"""

import textwrap

from hw.axi import TernspikeAXI
from hw.registers import ADDRESS_WIDTH, REGISTERS, VERSION, WORD_BYTES, Access
from sim.verilog import component_ports
from ternspike import __version__

__all__ = ["COMPANIONS", "EXAMPLE", "c_header", "companions", "example", "fusesoc_core",
           "registers_page", "system_rdl"]

#: The module of the example.
EXAMPLE = "soc_example"

#: The files that go with the Verilog of a block.
COMPANIONS = ("ternspike.h", "ternspike.rdl", "ternspike.core", f"{EXAMPLE}.v")

# Bits of a register.
_WIDTH = 8 * WORD_BYTES

_ACCESS = {Access.READ: "read", Access.WRITE: "write", Access.BOTH: "read, write"}

# What SystemRDL says that the hardware does, where software may do this.
_HARDWARE = {Access.READ: "w", Access.WRITE: "r", Access.BOTH: "rw"}

_PAGE = """\
# The core in a system on chip

`ternspike verilog --top axi` writes the core as a block with buses (`hw/axi.py`): AXI4-Lite for its
registers, AXI4-Stream for samples, streamed weights and results. `--soc DIR` writes the block, its
C header, SystemRDL, a FuseSoC core file and an example of its use into a folder. This page and all
of these are made from one table, `hw/registers.py`;
`python -m ternspike.soc > docs/registers.md` makes the page.

## Buses

* `aclk`, `aresetn`: clock of everything; reset, low, synchronous, a cycle or longer.
* `s_axil_*`: AXI4-Lite, 32 bits. The registers, {size} bytes of addresses.
* `s_axis_input_*`: AXI4-Stream, `lanes` bits in whole bytes. Beats of input samples, the first lane
  in the lowest bit.
* `s_axis_weights_*`: AXI4-Stream, 32 bits. Tiles of weights, if the network has more than fit: all
  of them for each sample anew.
* `m_axis_result_*`: AXI4-Stream, 32 bits. Of each sample the membranes of the readout, in order and
  sign-extended, then the number of the largest, with `tlast`.

A sample has as many beats as its program says; `tlast` of the inputs is ignored, and so are
`awprot` and `arprot`. No input acts on an output in the same cycle. A core with single-port weight
memories (`tiny`) takes no streamed weights.

## Accesses

Accesses are of whole words; the lowest two bits of an address are ignored. An access that can't be
carried out is answered with SLVERR, changes nothing but the count in `REFUSED`, and reads as 0:

* a read or a write of an offset without a register;
* a write of a register that can only be read, or the reverse;
* a write of a part of a word;
* a write of `CONFIG_DATA` unless the core is idle and one of its memories has a word at
  `CONFIG_ADDRESS`.

**To load a network**, wait for `STATUS.IDLE` and write the words that
`mapping.program.Program.config_writes` names, those at consecutive addresses without setting
`CONFIG_ADDRESS` again. Send samples when the last one has been written.

**To run it**, send samples and take results. The core starts by itself; an input buffer fills while
the core computes from another. Results that nobody takes stop it.

**To start anew**, write 1 to `CONTROL.RESET`, stop whoever sends, and write 0. In between all that
comes in is dropped, so that no stream is left with a part of a sample. A result word that is
on offer stays, as AXI wants it, and a packet that the reset broke ends with a word 0 with `tlast`.

## In FuseSoC and LiteX

The folder that `--soc` writes is a FuseSoC core;
`fusesoc --cores-root DIR run --target lint ternspike` looks at the example with Verilator. In
LiteX the block is an `Instance`:

```python
class Ternspike(LiteXModule):
    def __init__(self, platform, folder, lanes):
        self.bus     = bus     = axi.AXILiteInterface(address_width={address_width})
        self.samples = samples = axi.AXIStreamInterface(data_width=(lanes + 7) // 8 * 8)
        self.weights = weights = axi.AXIStreamInterface(data_width=32)
        self.results = results = axi.AXIStreamInterface(data_width=32)
        self.specials += Instance(
            "ternspike_axi", i_aclk=ClockSignal(), i_aresetn=~ResetSignal(),
            i_s_axil_awaddr=bus.aw.addr, i_s_axil_awprot=bus.aw.prot,
            i_s_axil_awvalid=bus.aw.valid, o_s_axil_awready=bus.aw.ready,
            i_s_axil_wdata=bus.w.data, i_s_axil_wstrb=bus.w.strb,
            i_s_axil_wvalid=bus.w.valid, o_s_axil_wready=bus.w.ready,
            o_s_axil_bresp=bus.b.resp, o_s_axil_bvalid=bus.b.valid, i_s_axil_bready=bus.b.ready,
            i_s_axil_araddr=bus.ar.addr, i_s_axil_arprot=bus.ar.prot,
            i_s_axil_arvalid=bus.ar.valid, o_s_axil_arready=bus.ar.ready,
            o_s_axil_rdata=bus.r.data, o_s_axil_rresp=bus.r.resp,
            o_s_axil_rvalid=bus.r.valid, i_s_axil_rready=bus.r.ready,
            i_s_axis_input_tdata=samples.data, i_s_axis_input_tlast=samples.last,
            i_s_axis_input_tvalid=samples.valid, o_s_axis_input_tready=samples.ready,
            i_s_axis_weights_tdata=weights.data, i_s_axis_weights_tlast=weights.last,
            i_s_axis_weights_tvalid=weights.valid, o_s_axis_weights_tready=weights.ready,
            o_m_axis_result_tdata=results.data, o_m_axis_result_tlast=results.last,
            o_m_axis_result_tvalid=results.valid, i_m_axis_result_tready=results.ready)
        platform.add_source(f"{{folder}}/ternspike_axi.v")
```

## Registers

Version {version} of the table. Bits that are not listed are read as 0.

| offset | register | access | field | bits | reset | meaning |
| ---: | --- | --- | --- | ---: | ---: | --- |
{rows}

The [README](../README.md#parameters-of-the-core) says what the parameters are; one that is true or
false is 1 or 0.
"""


def registers_page() -> str:
    """Return ``docs/registers.md``."""
    rows = []
    for register in REGISTERS:
        for number, field in enumerate(register.fields):
            high = field.low + field.width - 1
            first = (f"`0x{register.offset:02X}` | `{register.name}` | {_ACCESS[register.access]}"
                     if number == 0 else " | | ")
            reset = "" if field.reset is None else f"`0x{field.reset:X}`"
            bits = str(high) if field.width == 1 else f"{high}:{field.low}"
            rows.append(f"| {first} | `{field.name}` | {bits} | {reset} | {field.meaning} |")
    return _PAGE.format(address_width=ADDRESS_WIDTH, size=1 << ADDRESS_WIDTH, version=VERSION,
                        rows="\n".join(rows))


_HEADER = """\
/* Registers of a Ternspike core, version {version}; docs/registers.md says what they do.
 * Made by `ternspike verilog --soc`. */
#ifndef TERNSPIKE_H
#define TERNSPIKE_H

#include <stddef.h>
#include <stdint.h>

{constants}
/* A word of a network, as Program.config_writes of Ternspike's mapper gives it. */
struct ternspike_word {{
    uint32_t address;
    uint32_t data;
}};

static inline uint32_t ternspike_read(const volatile uint32_t *base, uint32_t offset)
{{
    return base[offset / 4];
}}

static inline void ternspike_write(volatile uint32_t *base, uint32_t offset, uint32_t value)
{{
    base[offset / 4] = value;
}}

/* Whether there is a core whose registers this header describes. */
static inline int ternspike_present(const volatile uint32_t *base)
{{
    return ternspike_read(base, TERNSPIKE_ID_OFFSET) == TERNSPIKE_ID_MAGIC_RESET &&
           ternspike_read(base, TERNSPIKE_VERSION_OFFSET) == TERNSPIKE_VERSION_VALUE_RESET;
}}

/* Whether a network can be loaded: no sample is in the core, nor a part of one. */
static inline int ternspike_idle(const volatile uint32_t *base)
{{
    return (ternspike_read(base, TERNSPIKE_STATUS_OFFSET) & TERNSPIKE_STATUS_IDLE_MASK) != 0;
}}

/* Drops all samples and results, and what comes in until ternspike_reset_end. */
static inline void ternspike_reset_begin(volatile uint32_t *base)
{{
    ternspike_write(base, TERNSPIKE_CONTROL_OFFSET, TERNSPIKE_CONTROL_RESET_MASK);
}}

static inline void ternspike_reset_end(volatile uint32_t *base)
{{
    ternspike_write(base, TERNSPIKE_CONTROL_OFFSET, 0);
    while (ternspike_read(base, TERNSPIKE_CONTROL_OFFSET) & TERNSPIKE_CONTROL_RESET_MASK)
        ;
}}

/* Loads a network. Returns 0, or -1 if the core is at work or has refused a word; where the bus
 * makes an exception of SLVERR, a refused word is that exception. Sorted words load fastest. */
static inline int ternspike_load(volatile uint32_t *base, const struct ternspike_word *words,
                                 size_t count)
{{
    const uint32_t refused = ternspike_read(base, TERNSPIKE_REFUSED_OFFSET);
    size_t n;

    if (!ternspike_idle(base))
        return -1;
    for (n = 0; n < count; n++) {{
        if (n == 0 || words[n].address != words[n - 1].address + 1)
            ternspike_write(base, TERNSPIKE_CONFIG_ADDRESS_OFFSET, words[n].address);
        ternspike_write(base, TERNSPIKE_CONFIG_DATA_OFFSET, words[n].data);
    }}
    return ternspike_read(base, TERNSPIKE_REFUSED_OFFSET) == refused ? 0 : -1;
}}

#endif
"""


def c_header() -> str:
    """Return ``ternspike.h``: offsets, shifts, masks, values after a reset, and how to load."""
    lines = []
    for register in REGISTERS:
        name = f"TERNSPIKE_{register.name}"
        lines += [*_comment(register.meaning), f"#define {name}_OFFSET 0x{register.offset:02x}u"]
        for field in register.fields:
            if field.meaning != register.meaning:
                lines += _comment(field.meaning)
            lines += [f"#define {name}_{field.name}_SHIFT {field.low}",
                      f"#define {name}_{field.name}_MASK 0x{field.mask:08x}u"]
            if field.reset is not None:
                lines.append(f"#define {name}_{field.name}_RESET 0x{field.reset:08x}u")
        lines.append("")
    return _HEADER.format(version=VERSION, constants="\n".join(lines))


def _comment(text: str) -> list[str]:
    """Return a comment in C."""
    return ("/* " + "\n * ".join(textwrap.wrap(text, 94)) + " */").splitlines()


def system_rdl() -> str:
    """Return ``ternspike.rdl``: the registers in SystemRDL 2.0."""
    lines = [
        f"// Registers of a Ternspike core, version {VERSION}.",
        "// Made by `ternspike verilog --soc`.",
        "addrmap ternspike {",
        '    name = "Ternspike";',
        '    desc = "Accelerator for spiking neural networks with ternary weights.";',
        f"    default regwidth = {_WIDTH};",
        f"    default accesswidth = {_WIDTH};",
    ]
    for register in REGISTERS:
        lines += ["", "    reg {", f'        name = "{register.name}";',
                  f'        desc = "{register.meaning}";']
        for field in register.fields:
            high = field.low + field.width - 1
            reset = "" if field.reset is None else f" = {field.width}'h{field.reset:x}"
            lines += ["        field {", f'            desc = "{field.meaning}";',
                      f"            sw = {register.access.value};",
                      f"            hw = {_HARDWARE[register.access]};",
                      f"        }} {field.name}[{high}:{field.low}]{reset};"]
        lines.append(f"    }} {register.name} @ 0x{register.offset:02X};")
    return "\n".join([*lines, "};", ""])


_CORE_FILE = """\
CAPI=2:
# Made by `ternspike verilog --soc`.
name: ::ternspike:{version}
description: Accelerator for spiking neural networks with ternary weights.

filesets:
  rtl:
    files: [{module}.v]
    file_type: verilogSource
  software:
    files:
      - ternspike.h: {{file_type: user}}
      - ternspike.rdl: {{file_type: user}}
  example:
    files: [{example}.v]
    file_type: verilogSource

targets:
  default:
    filesets: [rtl]
  lint:
    description: Look at the example with Verilator.
    flow: lint
    flow_options:
      tool: verilator
      verilator_options: [-Wno-fatal]
    filesets: [rtl, example]
    toplevel: {example}
"""


def fusesoc_core(module: str) -> str:
    """Return ``ternspike.core``: the block for FuseSoC, in its format CAPI2."""
    return _CORE_FILE.format(version=__version__, module=module, example=EXAMPLE)


_EXAMPLE = """\
// How the block stands in a system: registers and streams go to a processor and its DMA, and a
// network that lies in the core as a whole needs no streamed weights.
// Made by `ternspike verilog --soc`.
module {example} (
{ports}
);
  {module} ternspike (
{connections}
  );
endmodule
"""

# Ports of the block that the example ties off, and to what.
_TIED = {"s_axis_weights_tdata": "32'd0", "s_axis_weights_tlast": "1'b0",
         "s_axis_weights_tvalid": "1'b0", "s_axis_weights_tready": "",
         "s_axil_awprot": "3'd0", "s_axil_arprot": "3'd0", "s_axis_input_tlast": "1'b0"}


def example(component: TernspikeAXI, module: str) -> str:
    """Return ``soc_example.v``: a module with one instance of the block."""
    ports, connections = [], []
    for port in component_ports(component):
        name = port.name
        connections.append(f"    .{name}({_TIED.get(name, name)})")
        if name not in _TIED:
            direction = component.signature.members[name].flow.name.lower() + "put"
            width = f"[{len(port) - 1}:0] " if len(port) > 1 else ""
            ports.append(f"  {direction:6} wire {width}{name}")
    return _EXAMPLE.format(example=EXAMPLE, module=module, ports=",\n".join(ports),
                           connections=",\n".join(connections))


def companions(component: TernspikeAXI, module: str) -> dict[str, str]:
    """Return the files that go with the Verilog of a block, by their names."""
    return dict(zip(COMPANIONS, (c_header(), system_rdl(), fusesoc_core(module),
                                 example(component, module)), strict=True))


if __name__ == "__main__":
    print(registers_page(), end="")
