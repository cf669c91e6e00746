"""What several tests in this folder share."""

from typing import Any

import pytest
import torch

from experiments.audit import examine
from experiments.audit.session import Refused, Session, Target
from experiments.audit.worker import Calls, describe_error


class InProcess(Session):
    """A session whose calls are made right here."""

    def __init__(self, target: Target) -> None:
        self.target, self.versions = target, {"torch": torch.__version__}
        self.calls = Calls(str(target.file), target.function)

    def __exit__(self, *_: object) -> None:
        torch.set_grad_enabled(True)

    def _ask(self, request: dict[str, Any], timeout: float, when: str) -> dict[str, Any]:
        if request["op"] == "memory":
            return {"growth": None}
        try:
            answer: dict[str, Any] = getattr(self.calls, request["op"])(request)
        except Exception as error:
            raise Refused(describe_error(error, self.calls.file)) from None
        return answer


@pytest.fixture(autouse=True)
def in_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(examine, "Session", InProcess)
    monkeypatch.setattr(examine, "AT_ONCE", 1)
