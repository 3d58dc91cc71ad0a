"""The mechanisms, one paper a file. Make them with :func:`saccade.create`; the table is :mod:`saccade.catalog`."""
