"""Keys of the SDT-V3 detectors: MMDetection's names, with the numbers that the released modules
add.

The release wraps each layer as (neuron, container of the layer), so that ``.1.0`` stands in front
of a weight (`neck.lateral_convs.0.1.0.conv.weight`); in the RetinaNet head neurons and containers
alternate in one list. Read from the modules of the release and SpikingJelly 0.0.0.0.12, whose
container counts its layers. No detector has been published, so no file could be tried. The body's
names are those of the classifier behind ``backbone.``.
"""

from dataclasses import dataclass

from spikedriven.models.official import OfficialNames, Rules

BODY, THEIR_BODY = "backbone.body.", "backbone."
CONVS = 8
"""Rows of convolutions are renamed up to this length."""

RULES: Rules = [
    # of one box and mask head, and of the three stages of a cascade
    (r"^roi_heads\.stages\.(\d)\.box_(?:head|predictor)\.", r"roi_head.bbox_head.\1."),
    (r"^roi_heads\.stages\.(\d)\.mask_(?:head|predictor)\.", r"roi_head.mask_head.\1."),
    (r"^roi_heads\.box_(?:head|predictor)\.", "roi_head.bbox_head."),
    (r"^roi_heads\.mask_(?:head|predictor)\.", "roi_head.mask_head."),
    (r"^(roi_head\..*)shared_fcs\.(\d)\.project", r"\1shared_fcs.\2.1.0"),
    (r"^(roi_head\..*)(upsample|conv_logits)\.project", r"\1\2.1.0"),
    # ours counts a ReLU behind each convolution
    *(
        (rf"^(roi_head\..*)convs\.{2 * i}\.project\.(conv|bn)\.", rf"\1convs.{i}.1.0.\2.")
        for i in range(CONVS)
    ),
    *(
        (rf"^(roi_head\..*)convs\.{2 * i}\.project\.", rf"\1convs.{i}.1.0.conv.")
        for i in range(CONVS)
    ),
    (r"^backbone\.neck\.(lateral|fpn)_convs\.(\d+)\.project", r"neck.\1_convs.\2.1.0.conv"),
    (r"^rpn\.head\.(rpn_\w+)\.project", r"rpn_head.\1.1.0"),
    (r"^head\.classification_head\.branch\.out\.project", "bbox_head.retina_cls.0"),
    (r"^head\.regression_head\.branch\.out\.project", "bbox_head.retina_reg.0"),
    (r"^head\.classification_head\.branch\.convs", "bbox_head.cls_convs"),
    (r"^head\.regression_head\.branch\.convs", "bbox_head.reg_convs"),
    *(
        (
            rf"^bbox_head\.(cls|reg)_convs\.{2 * i}\.project\.",
            rf"bbox_head.\1_convs.{2 * i + 1}.0.conv.",
        )
        for i in range(CONVS)
    ),
]


@dataclass(frozen=True)
class DetectorNames(OfficialNames):
    """The body's own table behind a prefix, and `RULES` for the rest. outputs: of the pyramid,
    before extra levels.
    """

    body: OfficialNames | None = None
    outputs: int = 0

    @classmethod
    def of(cls, body: OfficialNames, outputs: int) -> "DetectorNames":
        return cls(RULES, conv1d=body.conv1d, linear=body.linear, body=body, outputs=outputs)

    def theirs(self, key: str) -> str:
        if key.startswith(BODY) and self.body is not None:
            return THEIR_BODY + self.body.theirs(key.removeprefix(BODY))
        return self._extra_conv(super().theirs(key))

    def current(self, key: str) -> str:
        if key.startswith(THEIR_BODY) and self.body is not None:
            return THEIR_BODY + self.body.current(key.removeprefix(THEIR_BODY))
        return key

    def _extra_conv(self, key: str) -> str:
        """RetinaNet's extra levels go on counting behind the pyramid's outputs."""
        head = "backbone.neck.extra_convs."
        if not key.startswith(head):
            return key
        number, rest = key.removeprefix(head).split(".project.")
        return f"neck.fpn_convs.{int(number) + self.outputs}.1.0.conv.{rest}"
