"""Turns scored faces into verdicts and verdicts into publications."""
