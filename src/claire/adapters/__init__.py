"""The outside: files, databases, venues. Everything that the pure core must not touch."""
