"""From memorisation to generalisation, as the number of training images grows."""
