"""Files, cache, processes, the hub: what every computation stands on and none is about."""
