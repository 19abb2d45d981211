"""Ternary networks of random weights, and what tests of pruning ask of them."""

import numpy as np
import torch

from model.architecture import parse
from model.layers import SpikingNetwork, Synapses, as_inputs
from model.neuron import NeuronSettings
from model.quantise import QuantiserSettings, Rule

__all__ = ["STEPS", "images", "mask_of", "model_of", "plain_norm"]

STEPS = 3


def model_of(arch: str, seed: int = 1, *, rule: Rule = Rule.MEAN, **neuron) -> SpikingNetwork:
    """Return a ternary network of random weights, batch norm that has seen data included."""
    model = SpikingNetwork(parse(arch), STEPS, neuron=NeuronSettings(**neuron),
                           quantiser=QuantiserSettings(rule), seed=seed)
    with torch.no_grad():
        for _ in range(3):
            model(as_inputs(images(model)))
    return model.eval()


def images(model: SpikingNetwork, count: int = 20, seed: int = 2) -> np.ndarray:
    """Return random static samples of a network, uint8 (count, inputs)."""
    shape = count, model.architecture.inputs
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def mask_of(layer: Synapses) -> torch.Tensor:
    """Return the mask of a layer that has one."""
    assert layer.mask is not None
    return layer.mask


def plain_norm(layer: Synapses) -> None:
    """Let batch norm pass what it gets."""
    layer.norm.load_state_dict(layer.norm.state_dict() | {
        "running_mean": torch.zeros(len(layer.weight)),
        "running_var": torch.full((len(layer.weight),), 1 - layer.norm.eps)})
