"""Ways into the gateway: one file each."""
