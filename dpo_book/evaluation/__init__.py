"""How good is a policy? Measures from samples and from preferences that nobody trained on."""
