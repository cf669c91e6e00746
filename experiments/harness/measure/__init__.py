"""What is measured within a process: the bench, clocks, memory, training loops, and what comes between them."""
