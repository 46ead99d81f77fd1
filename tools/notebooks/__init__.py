"""What is done to notebooks: they are run, measured, and given their first cells."""
