"""Check the tool itself: one file is one experiment whose question is about the tool."""
