"""The command line: `claire …`. What a person types, and what they read; nothing is decided here."""
