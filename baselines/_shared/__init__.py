"""What implementations in PyTorch share: a model as a function of its parameters, its state, and what it may not do."""
