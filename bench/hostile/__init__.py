"""Files that are wrong on purpose: each must be read, or be refused with a message."""
