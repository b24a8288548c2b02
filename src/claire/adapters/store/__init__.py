"""The SQL ledger: orders and money of every run, exact to the last digit (docs/ledger.md)."""
