"""Measure: one file here is one experiment, that is, a question, its cases, and what is measured in each."""
