"""fashion-scenes: real garments on real textures, with exact boxes, masks and label maps."""

from spikedriven.data.scenes.dataset import BACKGROUND, SCENE_CLASSES, FashionScenes

__all__ = ["BACKGROUND", "SCENE_CLASSES", "FashionScenes"]
