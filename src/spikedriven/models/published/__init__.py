"""The files of weights that the publications name or link. Importing this package registers them.

``spikedriven models --files`` lists them. Detectors and segmenters are called
DETECTOR.BACKBONE_DATASET: the part before the dot is what `create_detector` or `create_segmenter`
takes. A file that is in the authors' configurations, but of which no link is public, has the url
"": whoever trains with the authors' code gets such a file.
"""

from spikedriven.models.published import (
    dense_e_spikeformer,
    dense_meta_spikeformer,
    e_spikeformer,
    meta_spikeformer,
    qkformer,
    sdt,
    spikformer,
    spikingformer,
)

__all__ = [
    "dense_e_spikeformer",
    "dense_meta_spikeformer",
    "e_spikeformer",
    "meta_spikeformer",
    "qkformer",
    "sdt",
    "spikformer",
    "spikingformer",
]
