"""Known misuses of the libraries: what people write, and what is not MAML. They take part in `regress` only."""
