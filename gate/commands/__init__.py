"""What each `gate` command does: reads its arguments, calls the rooms, prints the answer."""
