"""One loop that reads top to bottom, and what it needs: tasks, checkpoints, the order of the samples."""
