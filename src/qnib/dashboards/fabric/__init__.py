"""The fabric for people: a map of any size, its links, one part of it read closely, what is to be found in it."""
