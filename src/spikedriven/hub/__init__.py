"""Networks in files and on the Hugging Face Hub, in timm's format: written, published, loaded
again.
"""

from spikedriven.hub.files import from_pretrained, push_to_hub, save_pretrained

__all__ = ["from_pretrained", "push_to_hub", "save_pretrained"]
