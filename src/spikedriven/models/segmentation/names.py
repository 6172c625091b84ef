"""Keys of the SDT-V3 segmenters, which follow MMSegmentation 1.1, with the numbers that the
released modules add.

Read from the modules of the release (QFPN and QFPNHead; with LIF neurons FPN_SNN and FPNHead_SNN)
and SpikingJelly 0.0.0.0.12, whose container counts its layers. No segmenter has been published, so
no file could be tried. The FCNHead_SNN that one configuration names is not in the release: an FCN
head has MMSegmentation's own names. The body's names are those of the classifier behind
``backbone.``.
"""

from dataclasses import dataclass

from spikedriven.models.official import OfficialNames, Rules

BODY = "backbone."
LEVELS, LENGTH = 8, 8
"""Chains are renamed up to this many, and up to this length."""

_CLASSIFIER = (r"^head\.classify\.project\.", "decode_head.conv_seg.")
#: Convolution and norm in one row; in a chain, as in ours, an upsampling counts as a member.
INTEGER_NAMES: Rules = [
    (r"^(neck\.\w+_convs\.\d+)\.project\.conv\.", r"\1.0."),
    (r"^(neck\.\w+_convs\.\d+)\.project\.bn\.", r"\1.1."),
    (r"^head\.(scale_heads\.\d+\.\d+)\.project\.conv\.", r"decode_head.\1.1."),
    (r"^head\.(scale_heads\.\d+\.\d+)\.project\.bn\.", r"decode_head.\1.2."),
    _CLASSIFIER,
]
#: A container per neuron; the upsampling of a chain is inside it, and does not count.
LIF_NAMES: Rules = [
    (r"^(neck\.\w+_convs\.\d+)\.project\.(conv|bn)\.", r"\1.1.0.\2."),
    (r"^(neck\.\w+_convs\.\d+)\.project\.", r"\1.1.0.conv."),
    (r"^head\.scale_heads\.0\.0\.project\.", "decode_head.scale_heads.0.0.1.0."),
    *(
        (
            rf"^head\.scale_heads\.{level}\.{2 * i}\.project\.",
            f"decode_head.scale_heads.{level}.{i}.1.0.",
        )
        for level in range(1, LEVELS)
        for i in range(LENGTH)
    ),
    _CLASSIFIER,
]
FCN_NAMES: Rules = [(r"^head\.convs\.(\d+)\.project\.", r"decode_head.convs.\1."), _CLASSIFIER]


@dataclass(frozen=True)
class SegmenterNames(OfficialNames):
    """The body's own table behind a prefix, and one of the tables above for the rest."""

    body: OfficialNames | None = None

    @classmethod
    def of(cls, body: OfficialNames, rules: Rules) -> "SegmenterNames":
        return cls(rules, conv1d=body.conv1d, linear=body.linear, body=body)

    def theirs(self, key: str) -> str:
        if key.startswith(BODY) and self.body is not None:
            return BODY + self.body.theirs(key.removeprefix(BODY))
        return super().theirs(key)

    def current(self, key: str) -> str:
        if key.startswith(BODY) and self.body is not None:
            return BODY + self.body.current(key.removeprefix(BODY))
        return key
