"""Compute intervals, verdicts and trends from numbers, and group rows into sections."""
