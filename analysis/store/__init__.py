"""Read the store: cells, environments, and one experiment as a DataFrame."""
