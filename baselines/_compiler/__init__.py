"""How `compiled` and its kin are made: the class they share, the traced steps, and what turns them into fast code."""
