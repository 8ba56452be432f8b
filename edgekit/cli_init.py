"""`edgekit init`."""
