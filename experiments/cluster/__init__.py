"""A run whose cases are measured by the workers of a Dask scheduler; the only part that imports Dask."""
