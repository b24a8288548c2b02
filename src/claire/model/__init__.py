"""What things are: instruments, money, market events, orders and their legal transitions.

Pure values only. Every other package may import this one; it imports nothing of ours.
"""
