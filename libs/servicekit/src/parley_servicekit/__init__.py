"""What every Parley process shares: life, gRPC server and clients, faults, settings, logs and metrics.

Import from the modules (`from parley_servicekit.faults import Fault`); this package exports nothing itself.
"""
