"""What is said about what a person keeps here for later: uploads in parts, and saved voices.

Knows words only; a part of `ingest.sentences`.
"""

from __future__ import annotations

from ingest.sentence import Sentence
from ingest.sentence import said as _s

KEPT: dict[str, Sentence] = {
    # Uploads in parts
    "upload_unknown": _s(404, "There is no such upload.", "没有这个上传。"),
    "upload_expired": _s(
        410, "This upload is no longer kept. Please begin another.", "该上传已过期，请重新上传。"
    ),
    "upload_incomplete": _s(
        409,
        "The upload is not whole yet: {offset} bytes have come. Please send the rest.",
        "上传尚未完成：已收到 {offset} 字节，请继续上传。",
    ),
    "offset_mismatch": _s(
        409,
        "The upload goes on at byte {offset} (Upload-Offset). Please send what follows there.",
        "请从第 {offset} 字节（Upload-Offset）继续上传。",
    ),
    "upload_too_large": _s(
        413,
        "The upload would be larger than the {limit} bytes that it may have.",
        "上传超过允许的 {limit} 字节。",
    ),
    "upload_parts_exceeded": _s(
        422,
        "The upload has {limit} parts already. Please begin another, with larger ones.",
        "上传分片已达 {limit} 个，请用更大的分片重新上传。",
    ),
    "uploads_exceeded": _s(
        429,
        "You have as many uploads as there may be. Please remove some, or wait until they expire.",
        "上传数量或总大小已达上限，请删除一些或等待其过期。",
    ),
    "upload_length_missing": _s(
        400,
        "Please say how long the upload is (Upload-Length), or that you do not know it yet "
        "(Upload-Defer-Length: 1).",
        "请提供 Upload-Length，或用 Upload-Defer-Length: 1 表示长度未知。",
    ),
    "upload_length_fixed": _s(
        422,
        "The length of this upload cannot become that: it was said before, or more has come.",
        "上传长度不能这样更改：此前已声明，或已收到更多内容。",
    ),
    "upload_media_type_unsupported": _s(
        415,
        "Please send application/offset+octet-stream.",
        "请使用 application/offset+octet-stream。",
    ),
    "tus_version_unknown": _s(
        412, "Here tus 1.0.0 is spoken (Tus-Resumable).", "此处使用 tus 1.0.0（Tus-Resumable）。"
    ),
    # Saved voices
    "voice_unknown": _s(404, "There is no such voice.", "没有这个声音。"),
    "voice_revoked": _s(
        409,
        "This voice was revoked: nothing is spoken in it any more.",
        "该声音已被撤回，不能再使用。",
    ),
    "voice_unshared": _s(
        409,
        "This voice is not shared with you any more. Please ask its owner for another code, or "
        "choose another voice.",
        "该声音已不再分享给你，请向其主人索取新的分享码，或换一个声音。",
    ),
    "voice_of_another": _s(
        403, "Only the one who saved this voice may do that.", "只有保存该声音的人可以这样做。"
    ),
    "voice_scope_missing": _s(
        403,
        "This voice is shared with you without {scope}.",
        "该声音的分享不包含 {scope} 权限。",
    ),
    "voices_exceeded": _s(
        422,
        "You have {limit} voices already. Please revoke one.",
        "最多可保存 {limit} 个声音，请先撤回一个。",
    ),
    "voices_elsewhere": _s(
        409,
        "Voices are not saved here: this site hands jobs on to another, which could not see a "
        "voice revoked. Please send a recording with each job.",
        "此站点只转交任务，不保存声音，请在每个任务中附上录音。",
    ),
    "share_unknown": _s(404, "There is no such share.", "没有这个分享。"),
    "shares_exceeded": _s(
        422,
        "This voice is shared {limit} times already. Please remove some.",
        "该声音最多可分享 {limit} 次，请先取消一些。",
    ),
    "share_code_invalid": _s(
        422,
        "The code is wrong, was used by somebody else, or has expired. Please ask for another.",
        "分享码无效、已被他人使用或已过期，请重新索取。",
    ),
}
