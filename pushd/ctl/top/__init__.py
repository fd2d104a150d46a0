"""`pushctl top`: a live table of the channels."""
