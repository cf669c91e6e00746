"""Reads a results folder and renders tables, plots and a summary; knows files only (see `docs/results.md`)."""
