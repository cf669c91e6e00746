"""Ours: MAML written by hand."""
