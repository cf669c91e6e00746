"""Figures: one file is one kind of figure; `style` has what they share, `plots` draws what an experiment declares."""
