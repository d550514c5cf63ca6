"""The outside of the gateway: what speaks gRPC to the services, and what keeps conversations."""
