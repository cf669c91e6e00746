"""Judge results: verdicts against expected ones, measurements against bounds, one results folder against another."""
