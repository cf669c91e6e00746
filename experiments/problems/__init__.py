"""What is adapted to what: task families, networks, and data."""
