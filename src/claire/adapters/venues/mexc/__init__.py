"""MEXC spot v3: its frames, its control texts, its REST interface, and the clients that hold them together."""
