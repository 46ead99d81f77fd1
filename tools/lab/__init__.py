"""What `make lab` does: the learner's own notebooks, and one server for them and the book."""
