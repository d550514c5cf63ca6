"""`Witness`: a `Person` who also remembers when it was told of errors and service levels. For the scenario `chaos`."""

from dataclasses import dataclass

from bench.person import Person
from bench.plan import SessionPlan
from parley.gateway.v1 import conversation_service_pb2 as pb2
from parley_servicekit.grpc_faults import fault_from_status


@dataclass(frozen=True, slots=True)
class Told:
    """What a person was told at a moment of the monotonic clock: an error's reason, or the service level.

    is_of_turn: it says which turn or reply failed.
    """

    at_s: float
    what: str
    is_of_turn: bool


class Witness(Person):
    """`told`: in order. committed_ids: of the turns whose commit was told, as often as it was."""

    def __init__(self, target: str, plan: SessionPlan) -> None:
        super().__init__(target, plan)
        self.told: list[Told] = []
        self.committed_ids: list[str] = []

    def _take(self, response: pb2.ConverseResponse, at_s: float) -> None:
        super()._take(response, at_s)
        match response.WhichOneof("response"):
            case "error":
                error = response.error
                is_of_turn = bool(error.turn_id or error.reply_id)
                self.told.append(Told(at_s, fault_from_status(error.status).reason, is_of_turn))
            case "service_level":
                self.told.append(
                    Told(at_s, f"service level {response.service_level.level}", is_of_turn=False)
                )
            case "turn_committed":
                self.committed_ids.append(response.turn_committed.turn_id)
