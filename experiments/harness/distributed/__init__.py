"""A run on several machines or ranks: Dask workers that take cases, torchrun's ranks that share meta-batches."""
