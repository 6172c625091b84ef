"""The sets that this package knows, registered in the order in which they are listed."""

from spikedriven.data.contract import register_data_set
from spikedriven.data.detection.registry import DETECTION_SETS
from spikedriven.data.events.registry import EVENT_SETS
from spikedriven.data.own.registry import OWN_SETS
from spikedriven.data.registry import IMAGE_SETS
from spikedriven.data.segmentation.registry import SEGMENTATION_SETS

for _entry in (*IMAGE_SETS, *EVENT_SETS, *DETECTION_SETS, *SEGMENTATION_SETS, *OWN_SETS):
    register_data_set(_entry)
