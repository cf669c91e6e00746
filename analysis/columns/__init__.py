"""Define the kinds of columns: each knows how it is computed, combined over seeds, shown and explained."""
