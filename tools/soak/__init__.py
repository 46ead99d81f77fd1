"""The soak: many small trainings, each with a fault, against the bits of the quiet run."""
