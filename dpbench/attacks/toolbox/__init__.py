"""Building blocks that several attacks share; authors of attacks may import them."""
