"""The embedded models' domain: what people may say to Parley and what its small chat model may answer."""
