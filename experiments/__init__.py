"""Every experiment. One file is one experiment: a question, its cases, what it measures, its columns."""
