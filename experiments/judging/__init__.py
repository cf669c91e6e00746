"""Judge results: compute the ground truth and the error that rounding explains, and check the terms of the contract."""
