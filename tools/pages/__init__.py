"""Pages of the book that are written by a program."""
