"""How far the Gaussian of the data carries a network's flow."""
