"""Examples that CI runs. Nothing in the project imports them."""
