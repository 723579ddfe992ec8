"""Training data: published formats read into conversations, encoded, packed, split, described."""
