"""Publishes the course: its address, the built book, the notebooks."""
