"""Trainings that are stopped and go on, and those that were done before."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from model.calibrate import CalibrationSettings
from model.checkpoint import Checkpoint, CheckpointError
from model.convert import Activation, ConversionSettings
from model.data import Coding, Dataset
from model.losses import LossSettings
from model.neuron import NeuronSettings
from model.prune import PruningSettings
from model.quantise import QuantiserSettings, Rule, Scale
from model.recipes import Recipe, Schedule
from model.train import Compute, ComputeError, Progress, train_models
from tests.test_train import recipe, same, stripes, train


class StoppedError(Exception):
    """What ends a training before its time."""


def stop_at(stage: str, epoch: int):
    """Return a progress callback that stops a training."""
    def progress(at: Progress) -> None:
        if (at.stage, at.epoch) == (stage, epoch):
            raise StoppedError

    return progress


def epochs_of(spec: Recipe, data: Dataset, folder: Path) -> list[tuple[str, int]]:
    """Return the epochs that a training tells."""
    told = []
    train(spec, data, compute=Compute(checkpoints=folder),
          progress=lambda at: told.append((at.stage, at.epoch)))
    return told


RECIPES = {
    "plain": recipe(),
    "augmented": recipe(shift=1, mirror=True, coding=Coding.RATE),
    "trained leak and slopes": recipe(
        neuron=NeuronSettings(leak=(2,), learn_leak=True),
        quantiser=QuantiserSettings(rule=Rule.LEARNED, scale=Scale.LEARNED)),
    "16 bits": recipe(arch="1x6x6-4C3-3", bfloat16=True),
}


@pytest.mark.parametrize("stage", ["float", "ternary"])
@pytest.mark.parametrize("name", RECIPES)
def test_a_stopped_training_comes_to_the_same_end(name, stage, tmp_path):
    spec, data = RECIPES[name], stripes()
    straight = train(spec, data)
    with pytest.raises(StoppedError):
        train(spec, data, compute=Compute(checkpoints=tmp_path), progress=stop_at(stage, 2))
    told = []
    again = train(spec, data, compute=Compute(checkpoints=tmp_path),
                  progress=lambda at: told.append((at.stage, at.epoch)))
    assert same(again.network, straight.network)
    for model in ("float_model", "ternary_model"):
        wanted, found = (getattr(each, model).state_dict() for each in (straight, again))
        for key, value in wanted.items():
            torch.testing.assert_close(found[key], value, rtol=0, atol=0)
    # What was done is told at once, and the rest epoch by epoch.
    assert told == ([("float", 2), ("float", 3), ("ternary", 1), ("ternary", 2), ("ternary", 3)]
                    if stage == "float" else [("float", 3), ("ternary", 2), ("ternary", 3)])


def test_what_was_done_is_not_done_again(tmp_path):
    spec, data = recipe(pruning=(PruningSettings(0.5, epochs=1, rounds=2),)), stripes()
    told = epochs_of(spec, data, tmp_path)
    assert len(told) == 8 and len(list(tmp_path.glob("*.pt"))) == 4
    again = epochs_of(spec, data, tmp_path)
    assert again == [("float", 3), ("ternary", 3), ("pruned weights", 1), ("pruned weights", 2)]
    # A step more, and only that is trained.
    more = dataclasses.replace(spec, pruning=(*spec.pruning, PruningSettings(0.8, epochs=1)))
    assert len(epochs_of(more, data, tmp_path)) > 4
    assert len(list(tmp_path.glob("*.pt"))) == 4 + more.pruning[1].rounds


def test_a_conversion_keeps_each_of_its_stages(tmp_path):
    spec = recipe(arch="36-8-8-3", conversion=ConversionSettings(Activation.RELU, epochs=1))
    epochs_of(spec, stripes(), tmp_path)
    assert len(list(tmp_path.glob("*.pt"))) == 4
    assert epochs_of(spec, stripes(), tmp_path) == [("ANN", 3), ("converted", 1), ("converted", 2),
                                                    ("ternary", 3)]


CHANGES = {
    "schedule": dict(student=Schedule(epochs=3, rate=2e-2)),
    "epochs": dict(student=Schedule(epochs=4, rate=1e-2)),
    "batch": dict(batch=10),
    "shift": dict(shift=1),
    "mirror": dict(mirror=True),
    "steps": dict(timesteps=2),
    "coding": dict(coding=Coding.RATE),
    "16 bits": dict(bfloat16=True),
    "loss": dict(loss=LossSettings(label_smoothing=0.1)),
    "calibration": dict(calibration=CalibrationSettings(beta=0.5)),
    "quantiser": dict(quantiser=QuantiserSettings(rule=Rule.MAX)),
    "neuron": dict(neuron=NeuronSettings(leak=(1,))),
    "threshold": dict(neuron=NeuronSettings(width=0.5)),
    "architecture": dict(arch="36-15-3"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_another_training_begins_anew(name, tmp_path):
    epochs_of(recipe(), stripes(), tmp_path)
    told = epochs_of(recipe(**CHANGES[name]), stripes(), tmp_path)
    assert ("ternary", 1) in told


def test_so_do_other_samples_and_seeds(tmp_path):
    data = stripes()
    epochs_of(recipe(), data, tmp_path)
    changed = np.array(data.train_x)
    changed[0, 0, 0] ^= 1
    assert ("float", 1) in epochs_of(recipe(), dataclasses.replace(data, train_x=changed), tmp_path)
    labels = np.array(data.train_y)
    labels[0] = (labels[0] + 1) % 3
    assert ("float", 1) in epochs_of(recipe(), dataclasses.replace(data, train_y=labels), tmp_path)
    told = []
    train_models(recipe(), data, seed=2, compute=Compute(checkpoints=tmp_path),
                 progress=lambda at: told.append(at.epoch))
    assert told[0] == 1


def test_what_a_teacher_does_not_go_by_leaves_it_as_it_is(tmp_path):
    epochs_of(recipe(), stripes(), tmp_path)
    for name in ("calibration", "quantiser"):
        assert epochs_of(recipe(**CHANGES[name]), stripes(), tmp_path)[0] == ("float", 3)


@pytest.mark.parametrize("content", [b"", b"no checkpoint", "half"])
def test_a_damaged_checkpoint_is_named(content, tmp_path):
    epochs_of(recipe(), stripes(), tmp_path)
    for file in tmp_path.glob("*.pt"):
        whole = file.read_bytes()
        file.write_bytes(whole[:len(whole) // 2] if content == "half" else content)
    with pytest.raises(CheckpointError, match=r"/[0-9a-f]{32}\.pt is no checkpoint, or a damaged"):
        epochs_of(recipe(), stripes(), tmp_path)


def test_nothing_is_there_at_first(tmp_path):
    checkpoint = Checkpoint(tmp_path / "new", "a training")
    assert checkpoint.load() is None
    checkpoint.save({"epochs": 1})
    assert checkpoint.load() == {"epochs": 1}
    assert Checkpoint(tmp_path / "new", "another").load() is None


@pytest.mark.parametrize("fields, message", [
    (dict(threads=0), "Threads must be at least 1, not 0"),
    (dict(device="warp"), "Device 'warp' can't be used: "),
    (dict(device="meta"), "Device 'meta' can't be used: "),
])
def test_what_can_not_compute(fields, message):
    with pytest.raises(ComputeError, match=message):
        Compute(**fields)
