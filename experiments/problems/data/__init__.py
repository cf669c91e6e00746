"""Data that has to be fetched: from official archives, checked, to one array that measuring reads with NumPy alone."""
