"""One module per engine family; `bootstrap` chooses."""
