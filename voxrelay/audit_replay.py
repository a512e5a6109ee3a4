"""`voxrelay audit replay`: judge again what was judged, or run a stage again and compare.

Knows options and exit codes. Refuses to do the work (`voxrelay.replaying` does).
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from voxrelay.auditing import Json, Since, Until, User, moment, run

CHANGED = 3
"""The exit code where anything would be otherwise."""

Stage = Annotated[str, typer.Option(help="moderation, or with --verify synth, delivery.")]
PolicyFile = Annotated[
    Path | None, typer.Option(exists=True, help="Judge by this policy; else by each one's own.")
]
Sample = Annotated[float, typer.Option(min=0, max=1, help="A share of the jobs, always the same.")]
Rehear = Annotated[bool, typer.Option(help="Listen to the recordings again.")]
Verify = Annotated[bool, typer.Option(help="Run the stage in a sandbox and compare the bytes.")]
State = Annotated[Path | None, typer.Option(help="File to go on from after an interruption.")]


def replay(
    stage: Stage = "moderation",
    policy: PolicyFile = None,
    since: Since = None,
    until: Until = None,
    user: User = None,
    sample: Sample = 1.0,
    rehear: Rehear = False,
    verify: Verify = False,
    state: State = None,
    as_json: Json = False,
) -> None:
    """Judge again what was recorded; exits with 3 where anything would change."""
    from audit.replay import Scope
    from voxrelay import replaying

    scope = Scope(moment(since), moment(until), user, sample)
    if verify:
        raise typer.BadParameter("not yet")
    if stage != "moderation":
        raise typer.BadParameter("judging again is for moderation; other stages take --verify")
    found = run(lambda spine: replaying.judge_again(spine, scope, policy, state, rehear=rehear))
    said = json.dumps(replaying.told(found), ensure_ascii=False)
    print(said if as_json else "\n".join(replaying.lines(found)))
    sys.exit(CHANGED if found.changed else 0)
