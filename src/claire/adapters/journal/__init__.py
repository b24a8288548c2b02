"""The journal: what entered a run and what it decided, append-only and hash-chained (docs/journal.md)."""
