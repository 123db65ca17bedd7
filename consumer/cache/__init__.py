"""The versioned cache of orders, in Redis or Valkey: optional, never asked what is newest, never waited for long."""
