"""The simulator held to a client that we did not write: `./dev conformance`."""
