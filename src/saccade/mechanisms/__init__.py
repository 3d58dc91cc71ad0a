"""The mechanisms, one paper per file. Make them with :func:`saccade.create`; the table is :mod:`saccade.catalog`."""
