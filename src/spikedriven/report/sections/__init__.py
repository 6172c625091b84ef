"""The sections of the page: each module lays out one part of the findings as HTML."""
