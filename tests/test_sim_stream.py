"""Components under cocotb: the stream agents, and how a failure is reported."""

import re
import tempfile

import pytest

from sim.errors import SimulationError
from sim.process import run_cocotb
from tests.stages import Difference, Lossy

pytestmark = pytest.mark.cocotb


@pytest.fixture(autouse=True)
def _logs_of_failures(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))


def test_agents():
    run_cocotb(Difference(), "tests.cocotb_stream", name="difference")


def test_lossy_stage_fails():
    """The bench finds a stage that loses words, and the message says where to look."""
    with pytest.raises(SimulationError) as failure:
        run_cocotb(Lossy(), "tests.cocotb_stream", name="lossy", seed=7)
    assert re.match(r"Simulation failed: \d of 5 tests failed, see \S+run\.log:\n",
                    str(failure.value))
    assert "test_all_words_arrive_in_order" in str(failure.value)
    assert str(failure.value).endswith("(seed 7)")


def test_no_such_module():
    with pytest.raises(SimulationError, match=r"(?s)see \S+run\.log:.*No module named 'nowhere'"):
        run_cocotb(Difference(), "nowhere", name="difference")
