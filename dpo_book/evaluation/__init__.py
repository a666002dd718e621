"""How good is a policy? Measures from samples, from preferences that nobody trained on, and by judges of pairs."""
