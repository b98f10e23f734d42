"""Distillation: a small network learns the quality that slower methods and recognizers tell."""
