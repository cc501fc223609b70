"""What a trial does: from the bytes of a table to a score. No database, no service."""
