"""Published accuracies of the sets that we train on, and what we read of them.

Only what was read somewhere is here. A figure of a set that ours is a part of is not ours to be
beaten; it says so.
"""
from dataclasses import dataclass

__all__ = ["ACCURACIES", "Accuracy"]


@dataclass(frozen=True)
class Accuracy:
    """What a work says of its network.

    Parameters
    ----------
    dataset : str
        Ours, as `model.data` calls it.
    whole : str
        Theirs, if ours is a part of it.
    work, network : str
        Who, and which network; with its steps T, if they are told.
    share : float
        On the test set, 0..1.
    read : str
        Where the figure stands, as far as we read.
    """

    dataset: str
    work: str
    network: str
    share: float
    read: str
    whole: str = ""


ACCURACIES = (
    Accuracy("mnist", "Hybrid architecture (IKT 2022)", "time-based coding", 0.953,
             "the abstract"),
    Accuracy("cifar10", "TW-SNN", "VGG16, T = 250, full precision", 0.9034, "the authors' logs"),
    Accuracy("cifar10", "TW-SNN", "VGG16, T = 250, ternary weights", 0.8971, "the authors' logs"),
    Accuracy("cifar10", "SpQuant-SNN", "ResNet-19, full precision", 0.9456,
             "the authors' README"),
    Accuracy("cifar10", "SpQuant-SNN", "ResNet-19, 4-bit weights, ternary membranes",
             0.9411, "the authors' README"),
    Accuracy("cifar10", "Multi-level SNN", "VGG16, T = 1, counts to 4", 0.9434,
             "notes of others"),
    Accuracy("cifar10", "AGMM-BSNN (AAAI 2025)", "T = 2, 1-bit weights", 0.9613,
             "notes of others"),
    Accuracy("cifar10", "Ternary Spike (AAAI 2024)", "ResNet-20, T = 2, full-precision weights",
             0.9560, "notes of others"),
    Accuracy("cifar10", "MINT", "VGG16, 2-bit weights and membranes", 0.906, "a page on it"),
    Accuracy("cifar10", "GAND-Nets", "ternary weights", 0.8742, "a page on it"),
    Accuracy("nmnist", "GAND-Nets", "ternary weights", 0.9843, "a page on it", "all of N-MNIST"),
    Accuracy("salinas-a", "HYPER-SNN", "3-D convolutions, T = 5", 0.9795, "the abstract",
             "all of Salinas"),
)
