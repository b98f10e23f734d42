"""Cameras and files: opening, reading, losing and finding them again."""
