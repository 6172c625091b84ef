"""Folders of one's own as entries of the registry, one for each kind of data."""

from spikedriven.data.contract import DataSet, Facts
from spikedriven.data.own import boxes, maps, pictures, recordings

_LICENCE = "that of your data"
OWN_SETS = (
    DataSet(
        name="folder",
        config=pictures.FolderConfig,
        facts=Facts(
            size="any pictures",
            licence=_LICENCE,
            mean=(0.485, 0.456, 0.406),
            std=(0.229, 0.224, 0.225),
        ),
        open=pictures.open_set,
        locate=pictures.locate,
    ),
    DataSet(
        name="event-folder",
        config=recordings.RecordingFolderConfig,
        facts=Facts(size="any recordings", licence=_LICENCE),
        open=recordings.open_set,
        locate=recordings.locate,
    ),
    DataSet(
        name="folder",
        config=boxes.BoxFolderConfig,
        facts=Facts(size="any pictures", licence=_LICENCE),
        open=boxes.open_set,
        locate=boxes.locate,
    ),
    DataSet(
        name="folder",
        config=maps.MapFolderConfig,
        facts=Facts(size="any pictures", licence=_LICENCE),
        open=maps.open_set,
        locate=maps.locate,
    ),
)
