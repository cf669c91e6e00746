"""What the store holds, read: cells, environments and one experiment as a DataFrame."""
