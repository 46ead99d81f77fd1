"""Typical wrong answers, one file per chapter, named as the chapter without its number."""
