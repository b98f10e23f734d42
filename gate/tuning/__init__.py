"""Watches cameras without publishing, and proposes the bars that fit what was seen."""
