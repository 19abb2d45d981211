"""The recipes that are meant for a GPU, as far as a CPU can tell: an epoch of ten random images."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from mapping.program import compile_network
from model.data import Dataset
from model.fold import FoldSettings
from model.layers import SpikingNetwork
from model.losses import training_loss
from model.recipe_file import read_recipe
from model.train import train
from ternspike.cores import parse_core

EXAMPLES = Path(__file__).parent.parent / "examples"
FOLDER = EXAMPLES / "gpu"

#: Memories of the large core that hold a ResNet's program, parameters and spikes.
DEEP = ("large,program_depth=32,spike_depth=8192,gain_depth=1024,neuron_depth=1024,"
        "weight_depth=1024")

#: A core that holds it: most weights come by the stream.
CORES = {
    "cifar10-vgg9": "large,spike_depth=2048,count_width=12",
    "cifar10-resnet18": f"{DEEP},count_width=13",
    "cifar10-resnet19": f"{DEEP},count_width=14",
}


def random_images() -> Dataset:
    """Return as many images as there are classes, for training and for the test."""
    random = np.random.default_rng(1)
    images = random.integers(0, 256, (20, 3, 32, 32), dtype=np.uint8)
    labels = np.arange(20) % 10
    return Dataset("cifar10", images[:10], labels[:10], images[10:], labels[10:])


@pytest.mark.parametrize("name", CORES)
def test_it_trains_and_folds_and_a_core_holds_it(name):
    recipe = read_recipe(FOLDER / f"{name}.toml")
    weighted = [layer for layer in recipe.architecture.layers if hasattr(layer, "weight_shape")]
    short = replace(
        recipe, batch=10, teacher=replace(recipe.teacher, epochs=1),
        student=replace(recipe.student, epochs=1),
        fold=FoldSettings(samples=2, shifts=(4,) * len(weighted)))
    network = train(short, random_images()).network
    program = compile_network(network, parse_core(CORES[name]))
    assert program.plan.layers and network.outputs == 10


def test_each_is_told_its_core():
    assert {file.stem for file in FOLDER.glob("*.toml")} == set(CORES)


@pytest.mark.parametrize("name", [
    *(f"gpu/{name}" for name in CORES), "digits-slopes", "digits-stepwise", "digits-spquant",
    "digits-rate-gradient", "digits-lsq"])
def test_a_step_makes_its_tensors_where_the_network_is(name):
    """On a device without values, which does not take tensors of the CPU."""
    recipe = read_recipe(EXAMPLES / f"{name}.toml")
    teacher, student = (
        SpikingNetwork(recipe.architecture, steps, neuron=recipe.neuron, quantiser=quantiser,
                       readout=recipe.readout, readout_leak=recipe.readout_leak).to("meta")
        for steps, quantiser in ((recipe.steps_of_teacher, None),
                                 (recipe.timesteps, recipe.quantiser)))
    inputs = torch.empty(4, recipe.architecture.inputs, device="meta")
    labels = torch.empty(4, dtype=torch.long, device="meta")
    with torch.no_grad():
        target = teacher.eval()(inputs)
    loss = training_loss(student(inputs), labels, recipe.loss, recipe.calibration, target, 0.5)
    loss.backward()
    torch.optim.AdamW(student.parameters()).step()
    gradients = [p.grad for p in student.parameters() if p.requires_grad]
    assert loss.is_meta and all(grad is not None and grad.is_meta for grad in gradients)
