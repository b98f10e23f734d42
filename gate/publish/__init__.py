"""Delivery: the event, the queue, and the Redis stream."""
