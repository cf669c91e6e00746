"""Whether a result is right: the ground truth, the error it may have, and the terms of the contract."""
