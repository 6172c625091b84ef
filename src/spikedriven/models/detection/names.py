"""Keys of the SDT-V3 detectors, which follow MMDetection 3.1.

No detection checkpoint has been published, so the table is derived and not verified against a file: the body's names
are those of the classifier (verified there) behind ``backbone.``; the names of neck and heads are MMDetection's stock
ones (``neck.lateral_convs.0.conv``, ``rpn_head.rpn_conv`` ...), with the position of a convolution behind a neuron as
the released modules nest them assumed to be MMDetection's own ``.conv``.
"""

from dataclasses import dataclass

from spikedriven.models.official import OfficialNames, Rules

BODY, THEIR_BODY = "backbone.body.", "backbone."

RULES: Rules = [
    (r"^backbone\.neck\.lateral_convs\.(\d+)\.project", r"neck.lateral_convs.\1.conv"),
    (r"^backbone\.neck\.fpn_convs\.(\d+)\.project", r"neck.fpn_convs.\1.conv"),
    (r"^rpn\.head\.(rpn_\w+)\.project", r"rpn_head.\1"),
    (r"^roi_heads\.box_head\.shared_fcs\.(\d)\.project", r"roi_head.bbox_head.shared_fcs.\1"),
    (r"^roi_heads\.box_predictor\.", "roi_head.bbox_head."),
    (r"^roi_heads\.mask_predictor\.upsample\.project", "roi_head.mask_head.upsample"),
    (r"^roi_heads\.mask_predictor\.conv_logits\.project", "roi_head.mask_head.conv_logits"),
    (r"^head\.classification_head\.branch\.out\.project", "bbox_head.retina_cls"),
    (r"^head\.regression_head\.branch\.out\.project", "bbox_head.retina_reg"),
]
#: (pattern of our key, their stem, their tail): rows in which ours counts a ReLU behind each convolution.
ROWS = [
    (r"^roi_heads\.mask_head\.convs\.(\d+)\.project", "roi_head.mask_head.convs"),
    (r"^head\.classification_head\.branch\.convs\.(\d+)\.project", "bbox_head.cls_convs"),
    (r"^head\.regression_head\.branch\.convs\.(\d+)\.project", "bbox_head.reg_convs"),
]
RULES += [(pattern.replace(r"(\d+)", str(2 * i)), f"{theirs}.{i}.conv") for pattern, theirs in ROWS for i in range(8)]


@dataclass(frozen=True)
class DetectorNames(OfficialNames):
    """The body's own table behind a prefix, and `RULES` for the rest; see the module's docstring."""

    body: OfficialNames | None = None

    @classmethod
    def of(cls, body: OfficialNames) -> "DetectorNames":
        return cls(RULES, conv1d=body.conv1d, body=body)

    def theirs(self, key: str) -> str:
        if key.startswith(BODY) and self.body is not None:
            return THEIR_BODY + self.body.theirs(key.removeprefix(BODY))
        return _extra_conv(super().theirs(key))

    def current(self, key: str) -> str:
        if key.startswith(THEIR_BODY) and self.body is not None:
            return THEIR_BODY + self.body.current(key.removeprefix(THEIR_BODY))
        return key


def _extra_conv(key: str) -> str:
    """RetinaNet's extra levels go on counting behind the pyramid's outputs, two of them in the release."""
    head = "backbone.neck.extra_convs."
    if not key.startswith(head):
        return key
    number, rest = key.removeprefix(head).split(".project.")
    return f"neck.fpn_convs.{int(number) + 3}.conv.{rest}"
