"""How long a training step takes, beside snnTorch and SpikingJelly, and what it is spent on.

``python -m bench.training_speed`` measures forward, backward and the optimiser's step of the same
networks (`bench.training_peers`) in all three, in turns, and prints how many times as long as ours
the others take; then a profile of ours. It writes ``build/bench/training_speed.json``. Of the peers
that are not installed it says how to install them, and does the rest. Times are wall-clock of one
machine, whatever else it does: only ratios of steps that ran next to one another are told.
"""
import argparse
import json
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from torch.autograd.profiler_util import FunctionEvent
from torch.profiler import ProfilerActivity, profile, record_function

from bench.bars import Bar, Panel, bar_chart
from bench.tables import Table, markdown, show, write_text
from bench.training_peers import INSTALL, LIBRARIES, NEURON, missing
from model.architecture import parse
from model.layers import SpikingNetwork
from model.quantise import QuantiserSettings

__all__ = ["CASES", "OURS", "TERNARY", "Case", "Trained", "document", "main", "measure",
           "operators_table", "parts_table", "picture", "profiled", "ratios_table"]

OURS, TERNARY = "Ternspike", "Ternspike, ternary"
PHASES = ("forward", "backward", "optimiser")
WARM_UP = 3                # steps that allocate and choose kernels, before any is timed
TOLERANCE = 1e-3           # of the losses after them, relative
PROFILED = 20              # steps
TOP = 8                    # operators that a table shows

#: What a step is spent on, by the names, or the beginnings of names, that the profiler has for it
#: and all that it calls. What is nowhere here is the loss, and data on its way.
PARTS = {
    "weights": ("aten::linear", "aten::conv2d", "MmBackward", "TBackward", "ConvolutionBackward"),
    "quantiser": ("quantiser", "_WithGradientBackward"),
    "batch norm": ("aten::batch_norm", "NativeBatchNormBackward"),
    "neurons": ("_Run",),
    "optimiser": ("Optimizer.",),
}
REST = "rest"


@dataclass(frozen=True)
class Case:
    """A network, its steps, and if its input is static pixels or spikes at each step."""

    arch: str
    steps: int
    static: bool

    def __str__(self):
        return f"{self.arch}, T = {self.steps}, {'pixels' if self.static else 'spikes'}"


DENSE, MAPS = "784-256-10", "1x28x28-16C3S2-32C3S2-10"
CASES = (Case(DENSE, 4, False), Case(DENSE, 8, False), Case(DENSE, 4, True), Case(MAPS, 4, False),
         Case(MAPS, 4, True))
DETAILED = (CASES[0], CASES[3])     # those of the others are much the same


class Trained:
    """A network, its optimiser and a batch of random samples that it is trained on."""

    def __init__(self, case: Case, name: str, batch: int):
        generator = torch.Generator().manual_seed(2)
        ours = SpikingNetwork(parse(case.arch), case.steps, neuron=NEURON, seed=1,
                              quantiser=QuantiserSettings() if name == TERNARY else None)
        self.network: nn.Module = LIBRARIES[name](ours) if name in LIBRARIES else ours
        pixels = torch.rand((batch, ours.architecture.inputs), generator=generator)
        self.inputs = pixels
        if not case.static:
            chances = torch.rand((case.steps, *pixels.shape), generator=generator)
            self.inputs = (chances < pixels).float()
        self.labels = torch.randint(ours.architecture.classes, (batch,), generator=generator)
        self.optimiser = torch.optim.AdamW(self.network.parameters(), lr=1e-3)
        self.loss = float("nan")           # of the last step

    def step(self) -> tuple[float, ...]:
        """Train on the batch once; return the seconds of each of `PHASES`."""
        times = [time.perf_counter()]
        found = self.network(self.inputs)
        loss = F.cross_entropy(found if isinstance(found, torch.Tensor) else found.logits,
                               self.labels)
        times.append(time.perf_counter())
        self.optimiser.zero_grad()
        loss.backward()
        times.append(time.perf_counter())
        self.optimiser.step()
        times.append(time.perf_counter())
        self.loss = loss.item()
        return tuple(end - start for start, end in zip(times, times[1:], strict=False))


def measure(case: Case, names: Sequence[str], rounds: int, batch: int) -> dict[str, Any]:
    """Time training steps of a case, in each round one of each name, one after another.

    Returns
    -------
    Of each name, of each of `PHASES` and of ``step``, all of them: ``seconds``, the median of the
    rounds, and ``ratio``, to `OURS` in the same round: quartiles and, in the middle, the median.

    Raises
    ------
    ValueError
        If the networks do not compute the same loss in the first steps.
    """
    trained = {name: Trained(case, name, batch) for name in names}
    for _ in range(WARM_UP):
        for each in trained.values():
            each.step()
    losses = {name: each.loss for name, each in trained.items() if name != TERNARY}
    if max(losses.values()) - min(losses.values()) > TOLERANCE * losses[OURS]:
        raise ValueError(f"{case}: the networks are not the same, their losses are {losses}")
    taken: dict[str, list[dict[str, float]]] = {name: [] for name in names}
    for turn in range(rounds):
        # What one leaves in the caches the next one finds: the order rotates.
        first = turn % len(names)
        for name in [*names[first:], *names[:first]]:
            parts = dict(zip(PHASES, trained[name].step(), strict=True))
            taken[name].append({"step": sum(parts.values())} | parts)
    found: dict[str, Any] = {}
    for name in names:
        found[name] = {}
        for phase in ("step", *PHASES):
            ratios = [mine[phase] / base[phase]
                      for mine, base in zip(taken[name], taken[OURS], strict=True)]
            found[name][phase] = {"seconds": median(each[phase] for each in taken[name]),
                                  "ratio": quantiles(ratios, method="inclusive")}
    return found


def profiled(case: Case, name: str, batch: int) -> dict[str, dict[str, float]]:
    """Return the share of ``parts`` and of ``operators`` in the time of our training steps.

    An operator's own time is counted, not that of what it calls.
    """
    trained = Trained(case, name, batch)
    for module in trained.network.modules():
        if isinstance(quantiser := getattr(module, "quantiser", None), nn.Module):
            _name_calls(quantiser, "quantiser")
    for _ in range(WARM_UP):
        trained.step()
    with profile(activities=[ProfilerActivity.CPU]) as profiler:
        for _ in range(PROFILED):
            trained.step()
    parts: Counter[str] = Counter(dict.fromkeys([*PARTS, REST], 0))
    operators: Counter[str] = Counter()
    for event in profiler.events() or []:
        parts[_part(event)] += event.self_cpu_time_total
        operators[event.name] += event.self_cpu_time_total
    total = sum(operators.values())
    return {"parts": {part: spent / total for part, spent in parts.items()},
            "operators": {name: spent / total for name, spent in operators.most_common(TOP)}}


def _name_calls(module: nn.Module, name: str) -> None:
    """Let the profiler know a module's calls by a name."""
    region = record_function(name)

    def begin(*_: Any) -> None:
        region.__enter__()

    def end(*_: Any) -> None:
        region.__exit__(None, None, None)

    module.register_forward_pre_hook(begin)
    module.register_forward_hook(end)


def _part(event: FunctionEvent | None) -> str:
    """Return the part that an event belongs to, or the events that called it."""
    while event is not None:
        for part, names in PARTS.items():
            if event.name.startswith(names):
                return part
        event = event.cpu_parent
    return REST


def ratios_table(summary: dict[str, Any]) -> Table:
    """Return how many times as long as ours the others take."""
    names = list(summary["cases"][0]["measured"])
    rows = [(each["case"], phase,
             *(_ratio(*each["measured"][name][phase]["ratio"]) for name in names if name != OURS))
            for each in summary["cases"] for phase in ("step", "forward", "backward")]
    return Table(("network", "time of", *(name for name in names if name != OURS)), rows,
                 {number for number, row in enumerate(rows) if row[1] == "step"})


def _ratio(low: float, middle: float, high: float) -> str:
    return f"{middle:.2f} ({low:.2f} to {high:.2f})"


def parts_table(summary: dict[str, Any]) -> Table:
    """Return what a step of ours is spent on."""
    rows = [(f"{each['case']}{', ternary' if name == TERNARY else ''}",
             *(f"{share:.0%}" for share in found["parts"].values()))
            for each in summary["cases"] for name, found in each["profile"].items()]
    return Table(("network", *PARTS, REST), rows)


def operators_table(operators: dict[str, float]) -> Table:
    """Return the operators with the most time of their own."""
    return Table(("operator", "share"), [(f"`{name}`", f"{share:.1%}")
                                         for name, share in operators.items()])


def picture(summary: dict[str, Any]) -> str:
    """Return what a step of our ternary networks is spent on, as an SVG picture."""
    panels = [Panel(f"{each['case']}: percent of a step",
                    tuple(Bar(part, 100 * share, f"{share:.1%}", ours=True)
                          for part, share in each["profile"][TERNARY]["parts"].items() if share))
              for each in summary["cases"] if each["case"] in map(str, DETAILED)]
    return bar_chart("What a training step of a ternary network is spent on", panels)


def document(summary: dict[str, Any]) -> str:
    """Return the tables as Markdown."""
    versions = ", ".join(f"{name} {number}" for name, number in summary["versions"].items())
    text = (f"{versions}; {summary['threads']} thread(s), batches of {summary['batch']}, medians "
            f"and quartiles of {summary['rounds']} rounds.\n\n{markdown(ratios_table(summary))}\n"
            f"Shares of a step's time, all parts with their way back:\n\n"
            f"{markdown(parts_table(summary))}\n")
    for each in summary["cases"]:
        if each["case"] in map(str, DETAILED):
            text += (f"Operators of {each['case']}, ternary:\n\n"
                     f"{markdown(operators_table(each['profile'][TERNARY]['operators']))}\n")
    return text + "![Bars of the parts](training-speed.svg)\n"


def main(arguments: list[str] | None = None) -> int:
    """Measure all cases; return 1 if the networks are not the same or can't be written."""
    parser = argparse.ArgumentParser(prog="python -m bench.training_speed",
                                     description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=41,
                        help="steps of each network that are timed (default 41)")
    parser.add_argument("--batch", type=int, default=128, help="samples a step (default 128)")
    parser.add_argument("--threads", type=int, default=1, help="of PyTorch (default 1)")
    parser.add_argument("--output", type=Path, default=Path("build/bench/training_speed.json"))
    options = parser.parse_args(arguments)
    if options.rounds < 2:
        parser.error("there must be at least 2 rounds")
    if options.batch < 2 or options.threads < 1:
        parser.error("there must be at least 2 samples and 1 thread")

    absent = missing()
    peers = [name for name in LIBRARIES if name not in absent]
    if absent:
        print(f"Not installed, and left out: {', '.join(absent)}. To compare with them:\n{INSTALL}")
    torch.set_num_threads(options.threads)
    cases = []
    try:
        for case in CASES:
            print(f"{case} ...", flush=True)
            cases.append({
                "case": str(case),
                "measured": measure(case, [OURS, TERNARY, *peers], options.rounds, options.batch),
                "profile": {name: profiled(case, name, options.batch)
                            for name in (OURS, TERNARY)}})
        summary = {"versions": {name: version(name) for name in ("torch", *peers)},
                   "threads": options.threads, "batch": options.batch, "rounds": options.rounds,
                   "cases": cases}
        write_text(options.output, json.dumps(summary, indent=1) + "\n")
    except (ValueError, OSError) as error:
        print(f"bench.training_speed: {error}", file=sys.stderr)
        return 1
    show(ratios_table(summary), f"Times as long as {OURS}, full precision: median (quartiles)")
    show(parts_table(summary), "Shares of the time of a step")
    for each in cases:
        show(operators_table(each["profile"][TERNARY]["operators"]),
             f"Operators of {each['case']}, ternary")
    return 0


if __name__ == "__main__":
    sys.exit(main())
