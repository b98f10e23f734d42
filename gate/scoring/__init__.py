"""Scoring many images from files: what `gate score` does, and reading its results back."""

from gate.scoring.reading import read_scores

__all__ = ["read_scores"]
