"""The page of findings, and the tables that other pages quote, filled from the published results."""
