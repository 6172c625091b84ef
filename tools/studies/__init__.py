"""The three studies of docs/results.md: which runs, what they cost, and the tables made from
their figures.
"""
