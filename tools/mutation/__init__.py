"""Plants small bugs into the package, one at a time, and counts how many the tests find."""
