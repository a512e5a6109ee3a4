"""How fast the relay relays: the chain of four hops with the models replaced by nothing."""
