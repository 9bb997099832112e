"""One module for each kind of fault. A fault is a value drawn from a seed; it is done to a house, and undone."""
