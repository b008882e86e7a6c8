"""What every answer over HTTP that is not a success says, as `application/problem+json` (RFC 9457)."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

__all__ = ["PROBLEM_TYPE", "Problem", "read_problem"]

PROBLEM_TYPE = "application/problem+json"
_URN = "urn:galaxy:problem:"
_LONGEST_DETAIL = 1000


class Problem(BaseModel):
    """Why a request was not done."""

    model_config = ConfigDict(extra="ignore", frozen=True)  # others may extend it

    type: Annotated[str, Field(pattern=rf"^{_URN}[a-z_]{{1,40}}$")]
    """For programs: `urn:galaxy:problem:not_found`, `…:altered`, `…:unauthorized`, `…:round_moved_on`, …"""
    title: str
    """The type, for people."""
    status: Annotated[int, Field(ge=400, le=599)]
    detail: str
    """What is wrong with this request, and what to do."""
    instance: str
    """The request's path."""

    @classmethod
    def of(cls, status: int, kind: str, detail: str, instance: str) -> Problem:
        """The problem of a kind, such as `not_found`."""
        title = kind.replace("_", " ").capitalize()
        return cls(type=_URN + kind, title=title, status=status, detail=detail, instance=instance)

    @property
    def kind(self) -> str:
        """The last part of `type`."""
        return self.type[len(_URN) :]


def read_problem(content_type: str, body: bytes) -> tuple[str, str]:
    """The kind and the detail of a problem that a server answered with, whatever it sent: nobody has to trust it. The
    kind is empty where it is not a problem of Galaxy's; the detail is short enough to be shown."""
    try:
        if content_type.partition(";")[0].strip().lower() != PROBLEM_TYPE:
            raise ValueError(content_type)
        problem = Problem.model_validate_json(body)
    except (ValueError, ValidationError):
        return "", f"{body[:200]!r}"
    return problem.kind, "".join(letter if letter.isprintable() else " " for letter in problem.detail[:_LONGEST_DETAIL])
