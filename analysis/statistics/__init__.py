"""Numbers from cells: computed columns, intervals, comparisons, and rows grouped into sections."""
