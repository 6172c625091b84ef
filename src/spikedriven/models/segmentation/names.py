"""Keys of the SDT-V3 segmenters, which follow MMSegmentation 1.1.

No segmentation checkpoint is at hand, so this table is derived and not verified against a file: the body's names are
those of the classifier (verified there) behind ``backbone.``; those of neck and head are MMSegmentation's stock names
(``neck.lateral_convs.0``, ``decode_head.scale_heads.0.0``, ``decode_head.conv_seg``), with convolution and norm
assumed to be called ``conv`` and ``bn`` as in its ConvModule. In its chains, as in ours, upsampling counts as a module.
"""

from dataclasses import dataclass

from spikedriven.models.official import OfficialNames, Rules

BODY = "backbone."

RULES: Rules = [
    (r"^neck\.(lateral_convs|fpn_convs)\.(\d+)\.project\.", r"neck.\1.\2."),
    (r"^head\.scale_heads\.(\d+)\.(\d+)\.project\.", r"decode_head.scale_heads.\1.\2."),
    (r"^head\.classify\.project\.", "decode_head.conv_seg."),
]


@dataclass(frozen=True)
class SegmenterNames(OfficialNames):
    """The body's own table behind a prefix, and `RULES` for the rest."""

    body: OfficialNames | None = None

    @classmethod
    def of(cls, body: OfficialNames) -> "SegmenterNames":
        return cls(RULES, conv1d=body.conv1d, body=body)

    def theirs(self, key: str) -> str:
        if key.startswith(BODY) and self.body is not None:
            return BODY + self.body.theirs(key.removeprefix(BODY))
        return super().theirs(key)

    def current(self, key: str) -> str:
        if key.startswith(BODY) and self.body is not None:
            return BODY + self.body.current(key.removeprefix(BODY))
        return key
