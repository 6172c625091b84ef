"""The engine: a model compiled to integer additions, run by the extension `_native`."""
