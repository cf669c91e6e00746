"""Draw figures: one file is one kind of figure; `style` is shared, and `plots` draws what a page declares."""
