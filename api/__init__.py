"""The HTTP service: commands in, reads that tell the truth about how old they are."""
