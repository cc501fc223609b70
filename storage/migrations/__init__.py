"""How our tables came to be, one file a change. `storage.connection.connect` applies them."""
