"""The refusals that every server of the contract has in common, by reason. Used by servicers and request checks."""

from parley_servicekit.faults import Fault


def invalid_field(field: str, message: str) -> Fault:
    """The request is wrong at `field` (dotted path from the message's root)."""
    return Fault.caller("INVALID_FIELD", message, field=field)


def not_honoured(field: str, message: str) -> Fault:
    """The request asks for something that this version, engine or model does not do."""
    return Fault.caller("NOT_HONOURED", message, field=field)


def invalid_order(message: str) -> Fault:
    """Messages came in an order that the contract forbids."""
    return Fault.caller("INVALID_ORDER", message, field="request")


def not_in_this_version(method: str) -> Fault:
    """An RPC of the contract that a later version fills."""
    return Fault.unimplemented("NOT_IN_THIS_VERSION", f"{method} is not part of this version")
