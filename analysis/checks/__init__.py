"""What came out against what should have: verdicts, bounds, and two results folders side by side."""
