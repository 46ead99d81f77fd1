"""The tests: one folder a subject, as the package. What several of them share has a file there."""
