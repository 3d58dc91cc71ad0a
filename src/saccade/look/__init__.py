"""``saccade look``: a page that shows what each point of an image attends to."""
