"""Everything that lasts. All SQL lives here; nothing here knows what a trial does."""
