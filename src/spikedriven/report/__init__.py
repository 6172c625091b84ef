"""Figures and the self-contained HTML page about a run or a network."""
