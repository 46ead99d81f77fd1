"""Pictures, and the numbers behind figures that move."""
