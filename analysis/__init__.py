"""Read a results folder and render its tables, plots and summary; this package knows files only (`docs/results.md`)."""
