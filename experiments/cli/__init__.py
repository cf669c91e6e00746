"""The command line: the only part that knows both experiments and analysis."""
