"""Small named helpers that break things on purpose, the way networks, machines and servers break."""
