"""Trainings that go on where they were stopped, and are not done twice.

A checkpoint is a file with the state of one training after an epoch. Its name is a digest of all
that decides the result, so that whoever starts the same training again finds it: the network and
its teacher with all their parameters, the samples, the settings. Of the program itself it knows
PyTorch's version only: throw the folder away when training was changed.
"""

from __future__ import annotations

import hashlib
import io
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from model.files import atomic_write

__all__ = ["Checkpoint", "CheckpointError"]


class CheckpointError(ValueError):
    """A file that should be a checkpoint and is not."""


class Checkpoint:
    """The file of one training; it need not be there.

    Parameters
    ----------
    folder : Path
        Where checkpoints lie; made when one is saved.
    parts : module, array or str
        All that decides the result of the training. Of a module its description, which must tell
        its settings, and its parameters and buffers.
    """

    def __init__(self, folder: Path, *parts: nn.Module | np.ndarray | str):
        found = hashlib.sha256(torch.__version__.encode())
        for part in parts:
            if isinstance(part, nn.Module):
                found.update(repr(part).encode())
                for name, tensor in part.state_dict().items():
                    found.update(name.encode())
                    found.update(tensor.cpu().numpy().tobytes())
            elif isinstance(part, np.ndarray):
                found.update(f"{part.dtype} {part.shape}".encode())
                found.update(part.tobytes())
            else:
                found.update(part.encode())
        self.path = folder / f"{found.hexdigest()[:32]}.pt"

    def save(self, state: dict[str, Any]) -> None:
        """Write the state of the training, completely or not at all.

        Parameters
        ----------
        state
            Numbers, tensors, and lists and dictionaries of them.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(self.path) as temporary:
            torch.save(state, temporary)

    def load(self) -> dict[str, Any] | None:
        """Return the state that was saved last; None if none was.

        Raises
        ------
        CheckpointError
            If the file is damaged.
        """
        try:
            content = self.path.read_bytes()
        except FileNotFoundError:
            return None
        try:
            return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
        # The errors of a zip file that is cut, a pickle that is none, and one that holds code.
        except (EOFError, KeyError, OSError, RuntimeError, ValueError,
                pickle.UnpicklingError) as error:
            raise CheckpointError(f"{self.path} is no checkpoint, or a damaged one: delete it"
                                  ) from error
