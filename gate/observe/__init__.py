"""What people and machines can see of a running gate: metrics, health, page and log."""
