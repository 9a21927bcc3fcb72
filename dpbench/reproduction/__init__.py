"""Published numbers beside our own: what matches, what differs, what could not be attempted."""
