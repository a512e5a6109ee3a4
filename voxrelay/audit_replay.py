"""`voxrelay audit replay`: judge again what was judged, or run a stage again and compare.

Knows options and exit codes. Refuses to do the work (`voxrelay.replaying` does).
"""

from __future__ import annotations

import json
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from voxrelay.auditing import As, Json, Reason, Since, Until, User, moment, reading, run_history

CHANGED = 3
"""The exit code where anything would be otherwise."""


class Stage(StrEnum):
    """What can be run again."""

    MODERATION = "moderation"
    SYNTH = "synth"
    DELIVERY = "delivery"


Which = Annotated[Stage, typer.Option(help="What to run again; all but moderation with --verify.")]
PolicyFile = Annotated[
    Path | None, typer.Option(exists=True, help="Judge by this policy; else by each one's own.")
]
Sample = Annotated[float, typer.Option(min=0, max=1, help="A share of the jobs, always the same.")]
Rehear = Annotated[bool, typer.Option(help="Listen to the recordings again.")]
Verify = Annotated[bool, typer.Option(help="Run the stage in a sandbox and compare the bytes.")]
State = Annotated[Path | None, typer.Option(help="File to go on from after an interruption.")]


def replay(
    stage: Which = Stage.MODERATION,
    policy: PolicyFile = None,
    since: Since = None,
    until: Until = None,
    user: User = None,
    sample: Sample = 1.0,
    rehear: Rehear = False,
    verify: Verify = False,
    state: State = None,
    actor: As = None,
    reason: Reason = None,
    as_json: Json = False,
) -> None:
    """Judge again what was recorded; exits with 3 where anything would change."""
    from audit.replay import Scope
    from voxrelay import replaying

    scope = Scope(moment(since), moment(until), user, sample)
    asked = {"since": since, "until": until, "policy": policy, "sample": sample, "rehear": rehear}
    action = f"verify {stage.value}" if verify else "replay"
    access = reading(action, actor, reason, opened=True, subject=user, scope=asked)
    if verify:
        ran = run_history(lambda spine: replaying.run_again(spine, stage.value, scope), access)
        shown, changed, document = replaying.compared(ran), ran.different, ran.told
    elif stage is not Stage.MODERATION:
        raise typer.BadParameter("judging again is for moderation; other stages take --verify")
    else:
        tally = run_history(
            lambda spine: replaying.judge_again(spine, scope, policy, state, rehear=rehear), access
        )
        shown, changed, document = replaying.lines(tally), tally.changed, replaying.told(tally)
    print(json.dumps(document, ensure_ascii=False) if as_json else "\n".join(shown))
    sys.exit(CHANGED if changed else 0)
