"""Whether code still holds: everything that a forward or a loss can be seen to read, and whether it has changed."""
