"""Every method's training as a generator of records, one a step, over one loop."""
