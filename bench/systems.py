"""The published systems that this project follows: what is here of each, and what shows it.

``python -m bench.systems`` writes ``docs/systems.md`` from the table `SYSTEMS`, and does nothing
else; ``tests/test_systems.py`` checks that all that the table names exists.
"""
import argparse
import enum
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.tables import write_text

__all__ = ["SYSTEMS", "Extent", "System", "document", "main"]


class Extent(enum.Enum):
    """How much of a system's method is here."""

    #: Every part of the method that could be read is built.
    ALL = "all"
    #: Some of what is its own.
    PART = "part"
    #: What its networks ask of the machine, or some of that; not how they are made.
    MACHINE = "machine"
    #: Nothing of it.
    NONE = "none"


@dataclass(frozen=True)
class System:
    """A published system.

    Parameters
    ----------
    name, subject : str
        What it is called, and what it is about.
    source : str
        Where it is published, and its authors' code, as far as we know them.
    read : str
        What we read of it.
    extent : Extent
    covered : str
        Which part of Ternspike covers it; empty if none does. Modules, such as ``model.fold``,
        stand in single backquotes.
    shown_by : tuple of str
        Tests, ``tests/test_fold.py::test_spike_input``; recipes, ``recipe mnist``; commands,
        ``make mnist`` or ``python -m bench.levels``.
    missing : str
        What of it is not here.
    """

    name: str
    subject: str
    source: str
    read: str
    extent: Extent
    covered: str
    shown_by: tuple[str, ...]
    missing: str


ABSTRACT = "the abstract"
CODE = "the authors' code"

#: In the order of their weight for this project; the first four are its core.
SYSTEMS = (
    System(
        "ATW-SNN", "asymmetric ternary weights, spike calibration",
        "No code found.", ABSTRACT, Extent.PART,
        "Ternary weights whose two sides have thresholds and scales of their own, a layer or a "
        "channel (`model.quantise`); the cross entropy of the mean or of each step as the task's "
        "loss (`model.losses`); a full-precision twin that teaches by the cosine distance of "
        "spike distributions and by its logits (`model.calibrate`); batch norm and scales folded "
        "into two integer gains a neuron (`model.fold`); 8-bit pixels in the first layer; memory "
        "and energy counted in full (`model.accounting`, `model.energy`).",
        ("tests/test_quantise.py::test_rules",
         "tests/test_quantise.py::test_closed_form_is_least_squares",
         "tests/test_quantise.py::test_slope_gradient",
         "tests/test_quantise.py::test_powers_of_two",
         "tests/test_losses.py::test_cross_entropy_of_the_steps",
         "tests/test_calibrate.py::test_cosine_distance_by_hand",
         "tests/test_train.py::test_calibration_makes_spikes_alike",
         "tests/test_fold.py::test_exact_numbers_give_exact_spikes",
         "tests/test_accounting.py::test_the_shape_that_is_to_be_reached",
         "tests/test_sim_run.py::test_agrees_with_the_golden_model",
         "make demo", "make mnist", "make fashion"),
        "Its own quantiser, losses and networks, which the abstract does not tell. CIFAR-100 and "
        "DVS-Gesture; CIFAR-10 with the calibration, which the recipe `cifar10-conv` leaves out."),
    System(
        "Dynamic Spike Bundling, B-SNNAP", "spikes close in time share one weight fetch",
        "No code found.", ABSTRACT, Extent.PART,
        "Bundles that cost no accuracy: a core of P planes takes P steps of a neuron's spikes as "
        "one event, which fetches its weights once (`hw.event_queue`, `hw.synapses`). A count "
        "takes an event for each bit plane that it sets, four at most, not one for each spike "
        "(`model.spikes`). Windows that collapse to counts, with the leak of so many steps, and a "
        "greedy search of the layers and windows under a bound on the calibration loss "
        "(`model.bundling`); `ternspike bundle` tells fetches and energy of both.",
        ("tests/test_mapping_cycles.py::test_events_and_bound",
         "tests/test_hw_synapses.py::test_synapses_count_groups_without_a_pause",
         "tests/test_hw_event_queue.py::test_events_of_random_groups",
         "tests/test_network_maps.py::test_sums_windows_of_steps_and_of_pixels",
         "tests/test_golden_maps.py::test_equals_the_plain_equations",
         "tests/test_random_networks.py::test_core_equals_golden_model",
         "tests/test_bundling.py::test_fetches_are_the_cores",
         "tests/test_bundling.py::test_search_stays_within_the_loss",
         "tests/test_bundling.py::test_collapsed_networks_on_the_core",
         "python -m bench.explore", "python -m bench.levels"),
        "Bundles that a neuron closes by itself, by count or by age. Windows in training, a window "
        "of its own for each source of a layer, and the search for the largest count of each "
        "layer beside its window."),
    System(
        "SpQuant-SNN, IM-SNN", "membranes of few levels, masks, ternary weights",
        "Code: Ahmedhasssan/IM_SNN-SpQuant_SNN.", f"{CODE}; of its learned threshold, the abstract",
        Extent.PART,
        "Its threshold rule for ternary weights, their one scale and its straight-through gradient "
        "are rule `max`, symmetry `scale` and gradient `identity` of `model.quantise`; its loss "
        "of each step is that of `model.losses`; its triangular surrogate is the default of "
        "`model.surrogate`. Hard reset, a leak of one half and thresholds that are trained are "
        "settings of `model.neuron`. Membranes saturate at any width of 2 to 32 bits "
        "(`hw.neuron`); `model.fold` takes the smallest that no input fills, or the one it is "
        "told; and they saturate in training, too. Channels are pruned for good by what its "
        "channel mask is trained to keep, or by means of membranes over the blocks that its other "
        "mask looks at (`model.importance`, `model.prune`).",
        ("tests/test_quantise.py::test_rules",
         "tests/test_quantise.py::test_one_scale_for_two_thresholds",
         "tests/test_quantise.py::test_weight_gradient",
         "tests/test_losses.py::test_cross_entropy_of_the_steps",
         "tests/test_neuron.py::test_surrogate_values",
         "tests/test_neuron.py::test_hard_reset_by_hand",
         "tests/test_fold.py::test_membranes_that_would_be_too_wide_saturate",
         "tests/test_neuron.py::test_saturation_by_hand",
         "tests/test_importance.py::test_membranes_of_blocks",
         "tests/test_importance.py::test_means_of_what_weights_meet_and_of_the_largest_counts",
         "tests/test_hw_neuron.py::test_saturation_at_both_ends"),
        "What is its own: membranes stored as the nearest of a few levels, their stacked gradient, "
        "and masks of channels and of pixels that a gate chooses anew for each sample. Its weights "
        "of 4 and 8 bits, CIFAR10-DVS, detection."),
    System(
        "Multi-level SNN, Sparse-ResNet", "spikes that count, few steps, barriers in residual nets",
        "arXiv 2510.24637; code of the base neuron: LEAT-EDGE/qualia-plugin-snn.",
        "the code of the base neuron and of the energy model; else the abstract and summaries",
        Extent.ALL,
        "Spikes that count to 15, in one step or more, from the gradient to the core "
        "(`model.neuron`, `model.fold`, `hw.neuron`); the gradient over the levels is ours. "
        "Residual blocks that merge by addition with a largest count, where the excess is lost or "
        "waits, by OR and by AND-NOT (`model.architecture`, `model.layers`), and activity layer "
        "by layer (`ternspike.report`). The laboratory's energy model (`model.energy`).",
        ("tests/test_neuron.py::test_counts_by_hand",
         "tests/test_neuron.py::test_gradient_of_counts_is_the_sum_over_the_levels",
         "tests/test_hw_neuron.py::test_counted_spike",
         "tests/test_layers.py::test_merges",
         "tests/test_layers.py::test_gradients_of_merges",
         "tests/test_layers.py::test_integers_do_the_same",
         "tests/test_network_maps.py::test_a_soft_add_sends_later_what_it_can_not_send_now",
         "tests/test_accounting.py::test_memory_of_spikes_by_hand",
         "tests/test_report.py::test_summary_tells_activity_by_depth",
         "python -m bench.levels", "recipe mnist-conv", "recipe mnist-residual-add2",
         "recipe mnist-residual-barrier2"),
        "Its experiments: VGG16 and ResNets on CIFAR-10, CIFAR-100 and CIFAR10-DVS. That our "
        "barriers are its barriers is not known."),
    System(
        "MLF, spiking DS-ResNet", "several thresholds a neuron, firing before the addition",
        "Code: langfengQ/MLF-DSResNet.", CODE, Extent.PART,
        "Its residual block is ours: two layers that fire, then the sum of their spikes and the "
        "block's input, which passes a 1 x 1 layer that fires where the shape changes "
        "(`model.architecture`). Its rectangular surrogate (`model.surrogate`).",
        ("tests/test_architecture.py::test_block",
         "tests/test_architecture.py::test_block_that_changes_the_shape",
         "tests/test_layers.py::test_integers_do_the_same",
         "tests/test_neuron.py::test_surrogate_values",
         "recipe mnist-residual-add2"),
        "The neuron itself: its thresholds have a membrane each, and are not multiples of one "
        "another, as those of a counted spike are. Its batch norm over time, and its data sets."),
    System(
        "FATNN", "fast arithmetic of ternary networks, learned thresholds",
        "Code: MonashAI/QTool.", f"{CODE} of the quantiser; of the arithmetic, the abstract",
        Extent.PART,
        "Weights whose two thresholds are learned as slopes are rule `learned` of "
        "`model.quantise`, and the gradient of their clamp is gradient `ramp`. Plus and minus "
        "synapses are counted as ones of bit planes (`hw.adder_tree`, `hw.synapses`); spikes of "
        "either sign are planes for each sign (`model.spikes`). That arithmetic is ours.",
        ("tests/test_quantise.py::test_slope_gradient",
         "tests/test_quantise.py::test_weight_gradient",
         "tests/test_quantise.py::test_a_steeper_slope_keeps_more_weights",
         "tests/test_hw_adder_tree.py::test_count_ones",
         "tests/test_hw_synapses.py::test_counts_reach_the_full_width",
         "tests/test_network_maps.py::test_planes_hold_every_signed_count"),
        "The code of ternary activations that halves the work, the quantiser of activations with "
        "learned steps, ImageNet."),
    System(
        "SynA-ResNet", "residual networks that merge by OR",
        "Code: Ym-Shan/ORRC-SynA-natural-pruning.", CODE, Extent.PART,
        "The merge by OR, in training by its polynomial (`model.layers`), in integers as a layer "
        "of unit gains (`model.integer_layers`), and its arctangent surrogate "
        "(`model.surrogate`).",
        ("tests/test_network_maps.py::test_or_and_and_not",
         "tests/test_layers.py::test_binary_merges_do_the_same",
         "tests/test_layers.py::test_gradients_of_merges",
         "tests/test_random_networks.py::test_core_equals_golden_model",
         "recipe mnist-residual-or"),
        "The attention before a block's second layer, the spiking gate on the way around it, and "
        "so the pruning that follows from them. Its data sets and 16 steps."),
    System(
        "DSR", "gradients of firing rates instead of time steps",
        "Code: qymeng94/DSR; also in SpikingJelly.", CODE, Extent.PART,
        "Its neuron without leak: soft reset, a threshold that is trained, and an initial "
        "membrane, which moves the first threshold; and its gradient, by the clamped rate "
        "(`model.neuron`, `model.fold`). That of counts and of spikes of either sign is ours.",
        ("tests/test_neuron.py::test_rate_gradient_by_hand",
         "tests/test_neuron.py::test_rate_gradient_is_that_of_the_clamp",
         "tests/test_train.py::test_options",
         "tests/test_neuron.py::test_soft_reset_by_hand",
         "tests/test_neuron.py::test_initial_membrane",
         "tests/test_fold.py::test_initial_membrane_is_folded"),
        "The gradient of neurons with leak, whose rates are weighted by time. Its networks and "
        "data sets."),
    System(
        "HSD", "step-wise distillation from a converted network",
        "Code: hsw0929/HSD.", CODE, Extent.PART,
        "Its neuron, without leak, with soft reset and half a threshold to start from "
        "(`model.neuron`); the distillation of the outputs of each step with a temperature "
        "(`model.calibrate`), from a teacher of as many steps or of a multiple of them; as that "
        "teacher an ANN with its clipped and rounded activation, thresholds trained, that is "
        "converted (`model.convert`).",
        ("tests/test_calibrate.py::test_stepwise_distillation_by_hand",
         "tests/test_calibrate.py::test_steps_of_a_teacher_with_more",
         "tests/test_convert.py::test_clip_floor_is_the_rate_of_spikes",
         "tests/test_convert.py::test_gradient_of_clip_floor",
         "tests/test_train.py::test_options",
         "tests/test_neuron.py::test_initial_membrane",
         "tests/test_fold.py::test_initial_membrane_is_folded",
         "tests/test_calibrate.py::test_distillation_by_hand"),
        "Event data: teachers of more steps are for static inputs. Gradients of an activation's "
        "height where it is clipped: here the weights behind have it."),
    System(
        "Progressive tandem learning", "conversion layer by layer",
        "Code: deepspike/progressive_tandem_learning.", CODE, Extent.PART,
        "Thresholds from a percentile of 99.9, anew before each layer becomes spiking, and "
        "training after it with the layers above still analog (`model.convert`, `model.train`); "
        "the gradient past a spiking layer is that of its rate, clipped (`model.neuron`). New "
        "input values in each step, so also values in the first one and zeros after it; neurons "
        "without leak, with soft reset and a bias in each step (`model.network`).",
        ("tests/test_convert.py::test_a_percentile_becomes_the_largest_rate",
         "tests/test_convert.py::test_layers_become_spiking_one_by_one",
         "tests/test_convert.py::test_training_after_each_layer_repairs_a_conversion",
         "python -m bench.conversion",
         "tests/test_numerics.py::test_vector",
         "tests/test_golden_maps.py::test_equals_the_plain_equations",
         "tests/test_random_networks.py::test_core_equals_golden_model"),
        "Its twin without a clip, layers that freeze, stages that end by validation. Training has "
        "no such input. Its networks and data sets."),
    System(
        "DCSNN", "VGG16 converted, land use and seizures",
        "No code found.", ABSTRACT, Extent.PART,
        "Weights from a network that does not spike, thresholds balanced by its activations "
        "(`model.convert`): the closest formulation. Convolutions, average pooling and neurons "
        "without leak, with soft reset (`model.layers`, `mapping.geometry`).",
        ("tests/test_convert.py::test_balancing_keeps_what_the_ann_does",
         "tests/test_convert.py::test_more_steps_come_nearer_to_the_ann",
         "python -m bench.conversion",
         "tests/test_layers.py::test_integers_do_the_same",
         "tests/test_neuron.py::test_soft_reset_by_hand",
         "tests/test_random_networks.py::test_core_equals_golden_model"),
        "VGG16, both applications. What of its conversion is its own, which the abstract does not "
        "tell."),
    System(
        "Spiking-UNet", "a U-Net converted, neurons of several thresholds",
        "Code: SNNresearch/Spiking-UNet.", CODE, Extent.MACHINE,
        "Its four thresholds, each half of the one before, give an amplitude of four bits, as a "
        "spike does that counts to 15 and is fired plane by plane (`hw.neuron`). Maps joined "
        "along the channels (`model.architecture`, `mapping.maps`).",
        ("tests/test_hw_neuron.py::test_counted_spike",
         "tests/test_network.py::test_planes_hold_every_count",
         "tests/test_architecture.py::test_concatenation",
         "tests/test_network_maps.py::test_joins_channels_in_the_order_of_the_sources",
         "tests/test_random_networks.py::test_core_equals_golden_model"),
        "Conversion, normalisation by connection, fine-tuning; larger maps out of smaller ones; a "
        "result that is a map, which `mapping.plan` refuses."),
    System(
        "Object detection at low latency", "spiking detectors of few steps",
        "arXiv 2309.15555 and its family.", ABSTRACT, Extent.MACHINE,
        "A readout that does not spike (`hw.readout`), joined maps, an initial membrane "
        "(`model.network`).",
        ("tests/test_hw_readout.py::test_random_samples",
         "tests/test_layers.py::test_integers_do_the_same"),
        "The detector: its head, which is a map, larger maps out of smaller ones, boxes, data. "
        "Its calibration; that of `model.convert` is not claimed to be it."),
    System(
        "Adaptive-SpikeNet", "optical flow with learned leaks and thresholds",
        "No official code.", f"{ABSTRACT}, and the notes of a reproduction by others",
        Extent.PART,
        "A threshold and a leak a layer that are trained (`model.neuron`); the leak is, from the "
        "first step of training, one or two shifts, as the machine has it (`hw.neuron`).",
        ("tests/test_neuron.py::test_fused_loop_equals_steps",
         "tests/test_neuron.py::test_gradient_of_a_trained_leak",
         "tests/test_train.py::test_a_leak_is_trained",
         "tests/test_fold.py::test_trained_leak_is_folded",
         "tests/test_neuron.py::test_leak_factor",
         "tests/test_hw_neuron.py::test_leak_rounds_down"),
        "The U-Net with its results at four scales, both losses, data."),
    System(
        "BackEISNN", "self-feedback, excitation and inhibition",
        "Code: main_backei.py of BrainCog.", CODE, Extent.MACHINE,
        "Spikes of either sign (`model.spikes`), whose sign is that of the membrane.",
        ("tests/test_neuron.py::test_signed_counts_by_hand",
         "tests/test_numerics.py::test_vector",
         "tests/test_random_networks.py::test_core_equals_golden_model"),
        "The convolution that decides the sign, and the feedback: no layer reads its own spikes "
        "of the step before, and nothing gates a current."),
    System(
        "ILC-SAN", "spiking actors with connections within a population",
        "Code: lucifer2859/ILC-SAN.", CODE, Extent.MACHINE,
        "Readout neurons that only integrate, the last membrane being the result (`hw.readout`).",
        ("tests/test_hw_readout.py::test_random_samples",
         "tests/test_numerics.py::test_vector"),
        "Connections within a layer, neurons with a current that decays, populations as input "
        "and output, reinforcement learning."),
    System(
        "QAT with learnable step size", "quantisers and neurons that adapt to a width of bits",
        "csb169; no code found.", ABSTRACT, Extent.PART,
        "Weights of 2 to 8 bits with a learned step, as LSQ is published, in floating point "
        "(`model.quantise`); `model.fold` refuses them. That they are this system's is not known.",
        ("tests/test_quantise.py::test_gradients_of_a_learned_step",
         "tests/test_train.py::test_weights_of_more_levels_train_and_are_not_folded",
         "tests/test_fold.py::test_refusals",
         "python -m bench.ablation"),
        "Such weights on the machine, as planes or otherwise; neurons that adapt to their width."),
    System(
        "RAINE", "a 40 nm chip that runs and learns several topologies on one datapath",
        "No code found.", ABSTRACT, Extent.PART,
        "Dense and convolutional layers on one datapath, whose neurons leak by shifts "
        "(`hw.neuron`, `hw.spans`).",
        ("tests/test_hw_neuron.py::test_leak_rounds_down",
         "tests/test_hw_passes.py::test_passes_in_program_order",
         "tests/test_random_networks.py::test_core_equals_golden_model"),
        "Recurrent layers, learning on the chip, its tasks, and power: ours is modelled, not "
        "measured."),
    System(
        "EdgeMap", "networks partitioned and placed on a mesh of cores",
        "No code found.", f"{ABSTRACT} and the introduction", Extent.NONE, "", (),
        "All of it: there is one core, and `mapping.plan` refuses what does not fit it."),
    System(
        "FPGA SNN with softmax and dynamic adder tree", "rate-coded, reused over time",
        "SysCon 2023; no code found.", ABSTRACT, Extent.PART,
        "Layers take turns on one array of neuron units, their state in memories (`hw.passes`, "
        "`hw.fire`). Only spikes that are there reach the adder trees, as many a cycle as there "
        "are banks (`hw.event_queue`, `hw.adder_tree`).",
        ("tests/test_hw_event_queue.py::test_an_event_a_cycle",
         "tests/test_hw_adder_tree.py::test_count_ones",
         "tests/test_hw_passes.py::test_passes_in_program_order",
         "tests/test_mapping_cycles.py::test_cycles_are_the_cores"),
        "Exponential and softmax, of numbers or of spikes: the core names the largest. The "
        "conversion."),
    System(
        "Spike transformer accelerator", "spiking attention on one engine",
        "No code found.", ABSTRACT, Extent.PART,
        "The merges of such blocks, by addition and by AND-NOT (`model.layers`), and linear layers "
        "with folded batch norm (`model.fold`).",
        ("tests/test_layers.py::test_binary_merges_do_the_same",
         "tests/test_network_maps.py::test_or_and_and_not",
         "tests/test_network_maps.py::test_a_hard_add_is_the_sum_as_far_as_it_can_count",
         "recipe mnist-residual-iand"),
        "Attention: products of spikes with spikes, and of their counts with spikes."),
    System(
        "Hybrid architecture on MNIST", "coding in time and a low-energy architecture",
        "IKT 2022; no code found.", ABSTRACT, Extent.NONE, "", (),
        "An encoder of one spike a pixel, and an end as soon as one neuron has won."),
    System(
        "ECC-SNN", "an edge network that asks the cloud when in doubt",
        "IJCAI 2025 by its code, 2024 by its DOI; code: AmazingDD/ECC-SNN.", CODE, Extent.PART,
        "The distillation of logits with a temperature in its loss, from a full-precision twin "
        "(`model.calibrate`). The core gives out all membranes of the readout, from which a host "
        "can tell doubt (`hw.readout`), and weights can be loaded anew (`hw.memory_map`).",
        ("tests/test_calibrate.py::test_distillation_by_hand",
         "tests/test_hw_readout.py::test_random_samples",
         "tests/test_hw_core.py::test_initial_contents_instead_of_configuration"),
        "The decision by entropy, the cloud, and new classes learned beside old ones."),
    System(
        "See-it-all teacher, see-very-little student", "a student that sees few frames",
        "", ABSTRACT, Extent.PART,
        "A teacher with more steps than its student, whose logits, outputs of each step and spikes "
        "teach it (`model.recipes`, `model.calibrate`).",
        ("tests/test_calibrate.py::test_spikes_of_a_teacher_with_more_steps",
         "tests/test_calibrate.py::test_steps_of_a_teacher_with_more",
         "tests/test_train.py::test_options"),
        "Teachers that see more of the input: both see the same static one. The distance of "
        "encodings, and video."),
    System(
        "Hybrid pruning and quantisation", "filters pruned by norm, then 8 bits",
        "", ABSTRACT, Extent.PART,
        "Channels that are pruned by the sum of their weights' sizes, with training after it "
        "(`model.importance`, `model.prune`); they vanish from the integer network, and from what "
        "the core does (`model.shrink`). Here the network is ternary before.",
        ("tests/test_importance.py::test_scores_of_neurons",
         "tests/test_prune.py::test_lowest_neurons_and_all_weights_on_them",
         "tests/test_prune.py::test_pruned_neurons_vanish"),
        "Ranks of feature maps; networks that are pruned first and quantised then, to 8 bits; "
        "its data sets and networks."),
    System(
        "Neural network relief", "pruning by the importance of each input",
        "Code: adekhovich/NNrelief.", CODE, Extent.PART,
        "The importance of a weight, the mean size of what it brings, summed over the pixels of a "
        "map; the smallest set of each neuron's inputs that makes up a share of all; rounds of "
        "pruning and training (`model.importance`, `model.prune`). Neurons that never spike are "
        "removed, where no input can make them (`model.shrink`).",
        ("tests/test_importance.py::test_relief_of_dense_weights",
         "tests/test_importance.py::test_relief_of_convolutions_sums_over_pixels",
         "tests/test_prune.py::test_the_smallest_set_of_each_neuron",
         "tests/test_prune.py::test_digits_stay_known",
         "tests/test_shrink.py::test_random_networks_keep_their_readout",
         "python -m bench.pruning"),
        "The bias as one of the inputs; neurons that are silent on the training samples alone; "
        "its networks."),
    System(
        "Sparse spike-train classification", "gates that learn to be closed",
        "KDD 2021; no code found.", ABSTRACT, Extent.NONE, "", (),
        "Gates on weights, a loss for those that are open, neurons that filter. Ternary weights "
        "are sparse by their thresholds alone."),
    System(
        "Widening and squeezing", "wider layers for coarser weights",
        "", ABSTRACT, Extent.NONE, "", (),
        "The loss between features, the squeezing, and a sweep of widths at equal memory."),
    System(
        "ACE-SNN, HYPER-SNN", "hyperspectral images, analog pixels in the first layer",
        "No code found.", ABSTRACT, Extent.PART,
        "Kernels in three dimensions, unrolled into those of two (`model.architecture`, "
        "`model.layers`); a first layer on 8-bit values, plane by plane, without a multiplication "
        "for a synapse (`hw.neuron`); thresholds and leaks that can be trained (`model.neuron`), "
        "which the recipe `salinas-a` does not; Salinas-A, a part of one of its scenes "
        "(`model.data_files`).",
        ("tests/test_layers.py::test_depth_is_a_3d_convolution",
         "tests/test_layers.py::test_depth_shares_codes",
         "tests/test_hw_neuron.py::test_planes_add_up",
         "tests/test_data.py::test_salinas_a",
         "recipe salinas-a"),
        "The conversion, weights of 6 bits that are clipped as its are, a first layer in memory; "
        "Indian Pines, Pavia and the whole of Salinas."),
    System(
        "Radar gesture SNN", "chirps in the time domain, straight into convolutions",
        "", ABSTRACT, Extent.MACHINE,
        "Signed values of up to 8 bits, new in each step, into convolutions (`model.network`, "
        "`hw.input_loader`).",
        ("tests/test_network_maps.py::test_input_values_are_the_sum_of_their_planes",
         "tests/test_numerics.py::test_vector",
         "tests/test_energy_maps.py::test_a_convolution_by_hand",
         "tests/test_random_networks.py::test_core_equals_golden_model"),
        "Training on such values: `model.data` has none, neither coding nor radar."),
    System(
        "QuanTaichi", "numbers of few bits, packed by a compiler",
        "", "the notes with its code", Extent.PART,
        "The idea that what is packed is described once: words of the core are named layouts "
        "(`hw.shapes`), which the simulation packs and unpacks by (`sim.layout`), and its "
        "memories one address map for hardware and compiler (`hw.memory_map`, "
        "`mapping.program`). Five weights a byte in the file, or less (`model.weight_codes`).",
        ("tests/test_sim_layout.py::test_agrees_with_amaranth",
         "tests/test_hw_memory_map.py::test_writes_reassemble",
         "tests/test_network_format.py::test_trits_round_trip"),
        "One type of numbers for training, file and core; a simulator on packed bits."),
    System(
        "SCANN", "what spiking hardware gives away",
        "", ABSTRACT, Extent.NONE, "", (),
        "Tests of what power and time tell, and a mode that hides it. The cycles of a sample do "
        "depend on its spikes."),
    System(
        "Edge intelligence study", "explanations of spiking and other networks",
        "IJAIRI.", ABSTRACT, Extent.NONE, "", (),
        "It has no method to build; explanations of decisions are not here either."),
)

_HEAD = """# Published systems

What is here of the published systems that this project follows, what shows it, and what is missing.
`python -m bench.systems` writes this page from the table in `bench/systems.py`;
`tests/test_systems.py` checks that every test, recipe, command and module that it names exists.

This page is about methods. No published figure is claimed to be reached: our own are in
[results](results.md), each with the command that makes it. A recipe that is named here trains, by
`ternspike train --recipe NAME`; that does not say that its figures are in the results.

Where only an abstract could be read, what is here is the closest formulation that is published, or
ours, and not claimed to be the paper's.

"""

_MEANING = {
    Extent.ALL: "every part of the method that could be read is built",
    Extent.PART: "some of what is its own is built",
    Extent.MACHINE: "what its networks ask of the machine is built, or some of that; how they are "
                    "trained or converted is not",
    Extent.NONE: "nothing of it",
}

#: A module in backquotes.
_MODULE = re.compile(r"`((?:bench|hw|mapping|model|sim|ternspike)\.\w+)`")


def document(systems: Sequence[System] = SYSTEMS) -> str:
    """Return the whole page as Markdown, ending with a line feed."""
    lines = []
    for extent, meaning in _MEANING.items():
        names = [system.name for system in systems if system.extent is extent]
        lines.append(f"* **{extent.value.capitalize()}**, {meaning} ({len(names)}): "
                     f"{'; '.join(names) or '-'}.\n")
    return _HEAD + "".join(lines) + "".join(map(_section, systems))


def _section(system: System) -> str:
    """Return what there is to say about a system."""
    covered = f"*{system.extent.value}.* {system.covered}".strip()
    lines = [f"* **Here:** {_linked(covered)}"]
    if system.shown_by:
        lines.append(f"* **Shown by:** {', '.join(map(_evidence, system.shown_by))}.")
    lines.append(f"* **Missing:** {_linked(system.missing)}")
    source = f"{system.source} Read: {system.read}.".strip()
    return (f"\n## {system.name}\n\n{system.subject[0].upper()}{system.subject[1:]}. {source}\n\n"
            + "".join(f"{line}\n" for line in lines))


def _linked(text: str) -> str:
    """Return text whose modules are links to their files."""
    return _MODULE.sub(lambda match: f"[{match[0]}](../{match[1].replace('.', '/')}.py)", text)


def _evidence(item: str) -> str:
    """Return a test or a recipe as a link, and a command as code."""
    file, _, test = item.partition("::")
    if test:
        return f"[{Path(file).stem}: {test}](../{file})"
    if item.startswith("recipe "):
        return f"[{item}](../model/recipes.py)"
    return f"`{item}`"


def main(arguments: list[str] | None = None) -> int:
    """Write the page; return 1 if it can't be written."""
    parser = argparse.ArgumentParser(prog="python -m bench.systems",
                                     description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--output", type=Path, default=Path("docs/systems.md"))
    options = parser.parse_args(arguments)
    try:
        write_text(options.output, document())
    except OSError as error:
        print(f"bench.systems: {error}", file=sys.stderr)
        return 1
    print(f"Written: {options.output}, {len(SYSTEMS)} systems")
    return 0


if __name__ == "__main__":
    sys.exit(main())
