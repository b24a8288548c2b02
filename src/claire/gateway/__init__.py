"""The last hop: the only code that signs an order, and sends it, once.

Everything else gets a signer that can sign only queries, cancels and listen keys.
"""
