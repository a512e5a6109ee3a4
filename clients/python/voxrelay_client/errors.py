"""What can go wrong, by what a caller does about it.

VoxRelayError
├── Refused       the gateway said no: mend the request, or come again after `retry_after`
├── Unreachable   nobody answered for as long as we tried: come again later
└── NotSpoken     the job ended without speech: `job` says why
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from voxrelay_client.models import Job


class VoxRelayError(Exception):
    """Any of ours."""


class Refused(VoxRelayError):
    """A request was refused; `code` is stable, `detail` is a sentence for the user.

    `errors` names the fields that are wrong; `retry_after` is in seconds.
    """

    def __init__(
        self,
        status: int,
        code: str,
        detail: str,
        errors: tuple[dict[str, Any], ...] = (),
        retry_after: float | None = None,
    ) -> None:
        super().__init__(f"{code}: {detail}")
        self.status = status
        self.code = code
        self.detail = detail
        self.errors = errors
        self.retry_after = retry_after


class Unreachable(VoxRelayError):
    """The gateway did not answer, or only that it cannot, however often it was asked.

    `upload` is the upload that broke off, if one did: `upload(…, resume=upload)` goes on with it.
    """

    upload: str | None = None


class NotSpoken(VoxRelayError):
    """The job was rejected or failed, or waits for a person's review."""

    def __init__(self, job: Job) -> None:
        super().__init__(job.why or f"job {job.job_id} is {job.state}")
        self.job = job
