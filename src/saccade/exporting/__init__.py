"""Networks as files for other runtimes, verified in these runtimes against the network they were made of."""
