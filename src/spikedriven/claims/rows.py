"""Claims beside the published files: sizes, operations, energies, comparisons."""

from functools import partial

from spikedriven.claims import counted
from spikedriven.claims.claim import (
    ESPIKE,
    FAILS,
    META,
    REPRODUCED,
    SDT,
    SMALL,
    SPIKINGFORMER,
    WEIGHTS,
    Claim,
)

_CUT = "cut off, not rounded; the file also holds layer norms that are never called"


def _size(
    publication: str, name: str, published: str, status: str = REPRODUCED, why: str = ""
) -> Claim:
    ours = counted.parameters(name)
    return Claim(
        publication,
        f"parameters of {name}",
        published,
        ours,
        status,
        f"spikedriven models {name}",
        why,
    )


SDT_ROWS = [
    Claim(
        SDT,
        "top-1 accuracy on ImageNet (abstract)",
        "77.1 %",
        "",
        WEIGHTS,
        "spikedriven eval sdt_8_768.in1k_288 --checkpoint authors --data imagenet",
        "the 77.07 % of the table, at 288 pixels",
    ),
    Claim(
        SDT,
        "energy of the attention's products, against softmax attention of the same shape",
        "up to 87.2 times less",
        partial(counted.attention_saving, 196, 4),
        REPRODUCED,
        "spikedriven claims",
        "products only, E_AC x T x (r_k + r_q) x N D against E_MAC x 2 N^2 D: the fewer neurons "
        "fire, the more is saved; the README does not say what 87.2 counts besides",
    ),
    Claim(
        SDT,
        "attention is linear in tokens",
        "linear",
        counted.growth(1, 2),
        REPRODUCED,
        "spikedriven claims",
        "twice the tokens, counted on the graph of the attention; drawn in docs/energy.md",
    ),
    Claim(
        SDT,
        "attention is linear in channels",
        "linear",
        counted.growth(2, 1),
        REPRODUCED,
        "spikedriven claims",
        "twice the channels, counted on the graph of the attention; drawn in docs/energy.md",
    ),
    Claim(
        SDT,
        "only sparse additions",
        "no multiplication",
        partial(counted.addition_only, "sdt_8_512"),
        REPRODUCED,
        "spikedriven audit sdt_8_512",
        "apart from the first convolution, which reads the image",
    ),
]

META_ROWS = [
    _size(META, "meta_spikeformer_55m", "55 M"),
    Claim(
        META,
        "top-1 accuracy over the best SNN before it (66 M)",
        "+3.7 points",
        "",
        WEIGHTS,
        "spikedriven eval sdt_8_768.in1k --checkpoint authors --data imagenet",
        "80.0 % less the accuracy of the 66 M network at 224 pixels, which the README "
        "does not name",
    ),
    Claim(
        META,
        "only sparse additions",
        "no multiplication",
        partial(counted.addition_only, "meta_spikeformer_15m"),
        REPRODUCED,
        "spikedriven audit meta_spikeformer_15m --brief",
        "once RepConv and the separable chains are folded; as released their inner layers multiply",
    ),
]

ESPIKE_ROWS = [
    _size(ESPIKE, "e_spikeformer_5m", "5.1 M"),
    _size(ESPIKE, "e_spikeformer_10m", "10 M"),
    _size(ESPIKE, "e_spikeformer_19m", "19 M"),
    _size(ESPIKE, "e_spikeformer_83m", "83 M"),
    _size(
        ESPIKE,
        "e_spikeformer_171m",
        "173 M",
        FAILS,
        "the released files are called 171M; 173.8 M is the pre-training network with its decoder "
        "(spike_mae_12_768)",
    ),
    Claim(
        ESPIKE,
        "top-1 accuracy of the 10 M network over the best SNN before it",
        "+7.2 points",
        "",
        WEIGHTS,
        "spikedriven eval e_spikeformer_10m.in1k_1x4 --checkpoint authors --data imagenet",
        "78.5 % less the other's 71.3 %, which the README does not name",
    ),
    Claim(
        ESPIKE,
        "training time: integers (1x4) against binary steps (T 4)",
        "4.5 times less",
        "3.2 times less, and +1.9 points",
        SMALL,
        "spikedriven train study_sfa_1x4",
        "study A of docs/results.md, step times of one network in both ways: the direction "
        "holds, the factor is smaller",
    ),
    Claim(
        ESPIKE,
        "energy of inference: integers against binary steps",
        "3.9 times less",
        "1.2 times more (0.49 spikes per neuron and image against 0.41)",
        FAILS,
        "spikedriven train study_sfa_1x4",
        "study A of docs/results.md: with one network in both ways spikes are about as many; the "
        "published partner is the best SNN before it, another network, which the README does not "
        "name",
    ),
]


def _flops(name: str, published: str) -> Claim:
    return Claim(
        SPIKINGFORMER,
        f"FLOPs of {name} (README until 2024)",
        published,
        partial(counted.pass_operations, name),
        FAILS,
        "spikedriven claims",
        "these are the synaptic operations that the Spikformer paper states for its own networks",
    )


def _sizes(name: str, published: str) -> Claim:
    ours = partial(counted.parameters_used_and_held, name)
    command = f"spikedriven models {name}"
    return Claim(SPIKINGFORMER, f"parameters of {name}", published, ours, REPRODUCED, command, _CUT)


def _additions(name: str) -> str:
    return f"{counted.from_logged_rates(name).acs / 1e9:.2f} G additions"


def _energy(name: str) -> str:
    return f"{counted.from_logged_rates(name).total_mj:.4f} mJ"


def _both_energies(name: str) -> str:
    log = counted.from_logged_rates(name, "spikingformer-log").total_mj
    return f"{_energy(name)} with its 8 heads, {log:.4f} mJ in the log"


def _published_rates(name: str) -> str:
    return f"spikedriven energy {name} --rates published --convention spikingformer"


_COLUMN = "the column counts additions at the logged firing rates, not dense operations"

SPIKINGFORMER_ROWS = [
    _sizes("spikingformer_8_384", "16.81 M"),
    _sizes("spikingformer_8_512", "29.68 M"),
    _sizes("spikingformer_8_768", "66.34 M"),
    _sizes("spikingformer_4_256_cifar", "4.15 M"),
    _sizes("spikingformer_2_384_cifar", "5.76 M"),
    _sizes("spikingformer_4_384_cifar", "9.32 M"),
    _sizes("spikingformer_2_256_dvs", "2.57 M"),
    _flops("spikingformer_8_384", "6.82 G"),
    _flops("spikingformer_8_512", "11.09 G"),
    _flops("spikingformer_8_768", "22.09 G"),
    Claim(
        SPIKINGFORMER,
        "FLOPs of spikingformer_8_384 (README)",
        "3.88 G",
        "",
        WEIGHTS,
        "spikedriven energy spikingformer_8_384.in1k --checkpoint FILE --data imagenet "
        "--convention spikingformer",
        f"{_COLUMN}; for this network none were logged, and no link to the file is public",
    ),
    Claim(
        SPIKINGFORMER,
        "FLOPs of spikingformer_8_512 (README)",
        "6.52 G",
        partial(_additions, "spikingformer_8_512"),
        REPRODUCED,
        _published_rates("spikingformer_8_512"),
        _COLUMN,
    ),
    Claim(
        SPIKINGFORMER,
        "FLOPs of spikingformer_8_768 (README)",
        "12.54 G",
        partial(_additions, "spikingformer_8_768"),
        FAILS,
        _published_rates("spikingformer_8_768"),
        f"{_COLUMN}; off by one in the last digit",
    ),
    Claim(
        SPIKINGFORMER,
        "energy per image of spikingformer_8_512",
        "7.46 mJ",
        partial(_energy, "spikingformer_8_512"),
        REPRODUCED,
        _published_rates("spikingformer_8_512"),
        "at the rates that the authors logged",
    ),
    Claim(
        SPIKINGFORMER,
        "energy per image of spikingformer_8_768",
        "13.68 mJ",
        partial(_both_energies, "spikingformer_8_768"),
        FAILS,
        _published_rates("spikingformer_8_768"),
        "off by one in the last digit; the counter's table says 12 heads for this network of 8",
    ),
    Claim(
        SPIKINGFORMER,
        "energy against Spikformer",
        "57.34 % less",
        f"{100 * (1 - 13.68 / 32.07):.2f} % less",
        REPRODUCED,
        "spikedriven claims",
        "13.68 mJ against the 32.07 mJ of the rows that the README comments out; the Spikformer "
        "paper says 21.48 mJ of the same network, against which it is 36.31 %",
    ),
    Claim(
        SPIKINGFORMER,
        "energy against Spikformer, both counted here at one firing rate",
        "57.34 % less",
        partial(counted.less_energy, "spikingformer_8_768", "spikformer_8_768"),
        FAILS,
        "spikedriven claims",
        "every neuron of both at the same rate, in the convention of Spikingformer: its layers "
        "read spikes, those of Spikformer sums of up to 17 spikes. The direction holds; the figure "
        "is one of rates, and no weights of Spikformer are public",
    ),
    Claim(
        SPIKINGFORMER,
        "top-1 accuracy over Spikformer",
        "+1.04 points",
        f"{75.85 - 74.81:+.2f} points",
        REPRODUCED,
        "spikedriven claims",
        "difference of the published rows, 75.85 % and 74.81 %; neither was measured here",
    ),
]
