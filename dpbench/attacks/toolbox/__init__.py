"""What authors of attacks may import: building blocks that several attacks share."""
