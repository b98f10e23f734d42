"""Where weight files come from, what they may be used for, and proof that they are what they claim."""
