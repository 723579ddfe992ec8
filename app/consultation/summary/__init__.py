"""A summary of a consultation for a real doctor, from structured fields by fixed rules."""
