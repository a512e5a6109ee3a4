"""What a door says of jobs that have ended, of shared pages, and to operators and auditors;
`ingest.sentences` has them all.
"""

from __future__ import annotations

from ingest.sentence import Sentence
from ingest.sentence import said as _s

REMARKS: dict[str, Sentence] = {
    "speech_lacking": _s(
        409, "This job has delivered no speech (yet).", "该任务（尚）没有交付语音。"
    ),
    "appeal_unknown_state": _s(
        409,
        "Only a job that was rejected can be appealed.",
        "只有被拒绝的任务才能申诉。",
    ),
    "rated_already": _s(
        409, "You have rated this already, otherwise.", "您已对该语音作过不同的评分。"
    ),
    "reports_exceeded": _s(
        429,
        "This has been reported already, and a person will look at it.",
        "该内容已被举报，我们会尽快人工核查。",
    ),
    "reports_too_often": _s(
        429, "Too many reports. Please try again in a minute.", "举报过于频繁，请一分钟后再试。"
    ),
    "page_unknown": _s(404, "This is not shared, or no longer.", "该内容未被分享，或分享已结束。"),
    # Operators and auditors
    "review_unknown": _s(
        404,
        "Nothing of this id waits for a review; somebody may have been quicker.",
        "没有该编号的待审核项，可能已被他人处理。",
    ),
    "review_elsewhere": _s(
        409,
        "Held prompts of an edge are reviewed at its cluster.",
        "边缘节点的待审核项须在其集群处理。",
    ),
    "dead_unknown": _s(
        404,
        "There is no such dead letter, or it was decided on already.",
        "没有这封死信，或它已被处理。",
    ),
    "dead_not_whole": _s(
        409,
        "This letter does not hold its record whole: it can only be discarded.",
        "该死信未保存完整记录，只能丢弃。",
    ),
    "archive_damaged": _s(
        503,
        "The archive of the hour {hour} is damaged: ask for a time without it (since, until). The "
        "log tells the operator how to mend it.",
        "{hour} 这一小时的归档已损坏：请用 since、until 避开该时段。"
        "运营者可在服务日志中查看修复办法。",
    ),
    "search_contradicts": _s(
        422,
        "No rule is told of where a job came to that: ask for the rule alone, or with a verdict.",
        "该状态的记录不含规则：请只按规则查询，或同时按审核结论查询。",
    ),
    "trail_unknown": _s(404, "No job of this id was ever accepted here.", "此处从未受理过该任务。"),
}
