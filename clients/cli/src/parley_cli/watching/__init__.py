"""What `parley top` shows: metrics fetched from the processes, made into a view, drawn."""
