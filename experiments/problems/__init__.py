"""Define what problems are made of: task families, networks with their losses, and data."""
