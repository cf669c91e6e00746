"""The networks that every implementation adapts, and their initial weights."""
