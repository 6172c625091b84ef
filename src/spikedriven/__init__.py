"""spikedriven: spike-driven vision transformers, trained, measured, proved and deployed."""

from spikedriven.models import create_model, list_models, load_official

__version__ = "0.1.0.dev0"

__all__ = ["create_model", "list_models", "load_official"]
