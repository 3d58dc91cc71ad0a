"""Where the jobs of a comparison are done; one file for each place, behind the protocol in :mod:`.base`."""
