"""What this machine makes of the gate: ceilings, stages, and the daemon itself under cameras."""
