"""Compiled operations and their readable twins. Only `extension` imports the compiled module."""
