"""The laboratory: evaluation, calibration and the tools of researchers."""
