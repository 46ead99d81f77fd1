"""A package, so that a file here may have the same name as one of the tests of the package."""
