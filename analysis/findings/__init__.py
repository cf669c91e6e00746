"""Fill the page of findings, and the tables that other pages quote, from the published results."""
