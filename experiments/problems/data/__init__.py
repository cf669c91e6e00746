"""Prepare data that has to be downloaded: turn official archives into one array that NumPy alone can read."""
