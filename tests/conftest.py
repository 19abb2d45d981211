"""What all tests share."""

import os
from pathlib import Path

import pytest

# Several workers on few cores: PyTorch's own threads would only wait for one another.
os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture
def data_folder() -> Path:
    """The folder of MNIST/raw and FashionMNIST/raw; without one the test is skipped."""
    folder = os.environ.get("TERNSPIKE_DATA")
    if not folder:
        pytest.skip("TERNSPIKE_DATA is not set")
    return Path(folder)
