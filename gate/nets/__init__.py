"""Network definitions with the parameter names of the published checkpoints. Only torch is imported here."""
