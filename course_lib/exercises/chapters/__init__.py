"""The checkers, one file per chapter of the book, named as the chapter."""
