"""A Ternspike network of full-precision weights, built in snnTorch or in SpikingJelly.

All compute the same loss: the same layers and initial weights, batch norm over all steps and
samples, neurons without leak and with a soft, detached reset, the arc tangent as surrogate. Each
library is used at its best. Synapses see all steps at once, and what a static input causes is
computed once; SpikingJelly's neurons are in multi-step mode; snnTorch's are called step by step,
since those of its neurons that take all steps have no reset.
"""

from __future__ import annotations

import importlib
import importlib.util
from abc import ABC, abstractmethod
from typing import Any

import torch
from torch import nn

from model.architecture import ConvSpec
from model.layers import SpikingNetwork, Synapses
from model.neuron import NeuronSettings
from model.surrogate import Surrogate

__all__ = ["INSTALL", "LIBRARIES", "NEURON", "PeerNetwork", "SnnTorch", "SpikingJelly", "missing"]

#: Neurons whose arithmetic is the same in each library.
NEURON = NeuronSettings(surrogate=Surrogate.ATAN, learn_threshold=False)

#: How to get the peers.
INSTALL = """\
python -m pip install --no-deps snntorch spikingjelly
python -m pip install loguru tqdm
(--no-deps, so that PyTorch stays the one that is there: torchvision and torchaudio, which
SpikingJelly asks for and these measurements do not need, would bring another.)"""


class PeerNetwork(nn.Module, ABC):
    """A network of another library, with the weights and the batch norm of one of ours.

    Parameters
    ----------
    network : SpikingNetwork
        A chain of dense layers and of convolutions without pools, groups and 3-D kernels, of
        full-precision weights, with the neurons `NEURON`.
    """

    def __init__(self, network: SpikingNetwork):
        super().__init__()
        layers = network.weighted_layers()
        self.shape, self.steps = network.architecture.shape, network.timesteps
        self.synapses = nn.ModuleList(self.synapses_like(layer) for layer in layers)
        self.neurons = nn.ModuleList(self.make_neurons() for _ in layers[1:])

    @abstractmethod
    def synapses_like(self, layer: Synapses) -> nn.Module:
        """Return weights and batch norm that take (steps, samples, channels, height, width)."""

    @abstractmethod
    def make_neurons(self) -> nn.Module:
        """Return neurons that take currents (steps, samples, ...)."""

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Return the logits (samples, classes) of inputs as `SpikingNetwork` takes them."""
        maps = inputs.unflatten(-1, self.shape)
        first, *others = self.synapses
        current = first(maps if maps.dim() == 5 else maps[None])
        current = current.expand(self.steps, *current.shape[1:])
        for neurons, synapses in zip(self.neurons, others, strict=True):
            current = synapses(neurons(current))
        return current.mean(0)


class SnnTorch(PeerNetwork):
    """In snnTorch: PyTorch's own layers, and ``Leaky`` of a beta of 1."""

    def synapses_like(self, layer: Synapses) -> nn.Module:
        """Return PyTorch's layers, which know no steps."""
        return _AllSteps(_synapses(nn, layer))

    def make_neurons(self) -> nn.Module:
        """Return a loop over steps."""
        return _StepByStep()


class SpikingJelly(PeerNetwork):
    """In SpikingJelly: all modules in multi-step mode."""

    def synapses_like(self, layer: Synapses) -> nn.Module:
        """Return SpikingJelly's own layers."""
        synapses = _synapses(_spikingjelly("layer"), layer)
        _spikingjelly("functional").set_step_mode(synapses, "m")
        return synapses

    def make_neurons(self) -> nn.Module:
        """Return neurons of PyTorch's operators, SpikingJelly's backend without a GPU."""
        return _spikingjelly("neuron").IFNode(
            v_threshold=NEURON.threshold, v_reset=None, detach_reset=True, step_mode="m",
            surrogate_function=_spikingjelly("surrogate").ATan(alpha=2 / NEURON.width))

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Return the logits (samples, classes); membranes must be reset before."""
        _spikingjelly("functional").reset_net(self)
        return super().forward(inputs)


#: By the name of the package.
LIBRARIES: dict[str, type[PeerNetwork]] = {"snntorch": SnnTorch, "spikingjelly": SpikingJelly}


def missing() -> list[str]:
    """Return the peers that are not installed."""
    return [name for name in LIBRARIES if importlib.util.find_spec(name) is None]


def _spikingjelly(name: str) -> Any:
    """Return a module of SpikingJelly."""
    return importlib.import_module(f"spikingjelly.activation_based.{name}")


class _AllSteps(nn.Module):
    """Applies to steps and samples together what takes samples."""

    def __init__(self, inner: nn.Module):
        super().__init__()
        self.inner = inner

    def forward(self, source: torch.Tensor) -> torch.Tensor:
        """Return the currents (steps, samples, ...)."""
        return self.inner(source.flatten(0, 1)).unflatten(0, source.shape[:2])


class _StepByStep(nn.Module):
    """Calls snnTorch's neurons step by step."""

    def __init__(self):
        super().__init__()
        library = importlib.import_module("snntorch")
        surrogate = importlib.import_module("snntorch.surrogate")
        self.neurons = library.Leaky(beta=1.0, threshold=NEURON.threshold,
                                     spike_grad=surrogate.atan(alpha=2 / NEURON.width))

    def forward(self, current: torch.Tensor) -> torch.Tensor:
        """Return the spikes (steps, samples, ...)."""
        v, spikes = torch.zeros_like(current[0]), []
        for each in current:
            fired, v = self.neurons(each, v)
            spikes.append(fired)
        return torch.stack(spikes)


def _synapses(library: Any, layer: Synapses) -> nn.Sequential:
    """Return a copy of weights and batch norm, of a library that names its layers as `nn` does."""
    spec, (outputs, inputs, *_) = layer.spec, layer.weight.shape
    if isinstance(spec, ConvSpec):
        weights = library.Conv2d(inputs, outputs, spec.kernel, spec.stride, spec.padding,
                                 bias=False)
        modules = [weights, library.BatchNorm2d(outputs)]
    else:
        weights = library.Linear(inputs, outputs, bias=False)
        modules = [library.Flatten(), weights, library.BatchNorm1d(outputs)]
    with torch.no_grad():
        weights.weight.copy_(layer.weight)
    modules[-1].load_state_dict(layer.norm.state_dict())
    return nn.Sequential(*modules)
