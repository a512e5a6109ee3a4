"""Every code that a door may answer with: its status, and a sentence in Chinese and English.

Knows words only. A sentence says what is wrong and what its reader can do; it never repeats what a
user sent. Refuses to know when a refusal is due.
"""

from __future__ import annotations

from ingest.accounts.sentences import ACCOUNTS
from ingest.sentence import Sentence
from ingest.sentence import said as _s
from ingest.sentences_kept import KEPT
from ingest.sentences_remarks import REMARKS

SENTENCES: dict[str, Sentence] = {
    **ACCOUNTS,
    **KEPT,
    **REMARKS,
    # The request itself
    "body_not_json": _s(400, "The body is not valid JSON.", "请求内容不是有效的 JSON。"),
    "body_too_intricate": _s(
        400,
        "The body is more intricate than a request can be. Please send text and recording alone.",
        "请求内容过于复杂，请只发送文本和录音。",
    ),
    "body_not_multipart": _s(
        400, "The body is not a valid multipart form.", "请求内容不是有效的 multipart 表单。"
    ),
    "body_incomplete": _s(
        400, "The body ended early. Please send it again.", "请求未传完，请重试。"
    ),
    "body_too_slow": _s(
        408,
        "The request took too long to arrive. Please try again where the connection is better.",
        "请求上传太慢，请在网络较好时重试。",
    ),
    "body_too_large": _s(
        413,
        "The request is larger than {limit_mb} MB. Please send a shorter or compressed recording.",
        "请求超过 {limit_mb} MB，请使用更短或压缩过的录音。",
    ),
    "media_type_unsupported": _s(
        415,
        "Please send application/json or multipart/form-data.",
        "请使用 application/json 或 multipart/form-data。",
    ),
    "fields_invalid": _s(422, "These fields are wrong: {fields}.", "以下字段有误：{fields}。"),
    "not_found": _s(404, "There is nothing at this address.", "该地址不存在。"),
    "method_not_allowed": _s(
        405, "This address does not take this method.", "该地址不支持此请求方法。"
    ),
    "request_invalid": _s(400, "The request cannot be understood.", "无法理解该请求。"),
    # Text and manner
    "text_missing": _s(
        422, "The text is missing. Please enter one.", "缺少文本，请输入要合成的文字。"
    ),
    "text_empty": _s(422, "The text is empty. Please enter one.", "文本为空，请输入要合成的文字。"),
    "text_too_long": _s(
        422,
        "The text has {length} characters; at most {limit} are taken. Please shorten it.",
        "文本有 {length} 个字，最多 {limit} 个字，请缩短。",
    ),
    "text_control_characters": _s(
        422,
        "The text holds control characters. Please remove them.",
        "文本含有控制字符，请删除后重试。",
    ),
    "instruct_missing": _s(
        422,
        "Mode instruct needs an instruction (instruct) or a style.",
        "instruct 模式需要填写 instruct 指令或选择 style 风格。",
    ),
    "instruct_too_long": _s(
        422,
        "The instruction has {length} characters; at most {limit} are taken.",
        "指令有 {length} 个字，最多 {limit} 个字。",
    ),
    "mode_unknown": _s(
        422,
        "The mode is none of zero_shot, cross_lingual and instruct.",
        "mode 只能是 zero_shot、cross_lingual 或 instruct。",
    ),
    # Recordings
    "recording_missing": _s(
        422,
        "The recording is missing. Please record or choose one.",
        "缺少录音，请录制或选择一段录音。",
    ),
    "recording_ambiguous": _s(
        422,
        "Please give one of recording, upload and voice, not several.",
        "recording、upload 和 voice 只能填写一个。",
    ),
    "recording_not_base64": _s(
        422, "The recording is not valid base64.", "录音不是有效的 base64 编码。"
    ),
    "recording_empty": _s(422, "The recording is empty (0 bytes).", "录音为空（0 字节）。"),
    "recording_not_audio": _s(
        422,
        "The file is not a recording. Please send WAV, MP3, M4A, AAC, AMR, FLAC or Ogg.",
        "该文件不是录音，请使用 WAV、MP3、M4A、AAC、AMR、FLAC 或 Ogg。",
    ),
    "recording_is_video": _s(
        422,
        "The file is a video. Please send a recording of sound alone.",
        "该文件是视频，请使用纯音频录音。",
    ),
    "recording_codec_unknown": _s(
        422,
        "The recording is coded in a way that is not read here. Please send WAV, MP3 or AAC.",
        "不支持该录音的编码，请使用 WAV、MP3 或 AAC。",
    ),
    "recording_broken": _s(
        422,
        "The recording is cut off or damaged. Please record or upload it again.",
        "录音不完整或已损坏，请重新录制或上传。",
    ),
    "recording_too_short": _s(
        422,
        "The recording lasts {seconds} s; at least {shortest} s are needed, 3 to 10 are best.",
        "录音只有 {seconds} 秒，至少需要 {shortest} 秒，3 到 10 秒最好。",
    ),
    "recording_too_long": _s(
        422,
        "The recording is longer than {longest} s. Please send 3 to 10 seconds.",
        "录音超过 {longest} 秒，请使用 3 到 10 秒的录音。",
    ),
    "recording_channels": _s(
        422,
        "The recording has {channels} channels. Please send mono or stereo.",
        "录音有 {channels} 个声道，请使用单声道或立体声。",
    ),
    "recording_rate": _s(
        422,
        "The recording has a sample rate of {rate} Hz. Please record at 8,000 to 48,000 Hz.",
        "录音采样率为 {rate} Hz，请使用 8000 到 48000 Hz 录制。",
    ),
    "recording_silent": _s(
        422,
        "The recording is silent. Please check the microphone and record again.",
        "录音没有声音，请检查麦克风后重新录制。",
    ),
    "recording_too_complex": _s(
        422,
        "The recording could not be read within our limits of time and memory. Record it again.",
        "无法在限定的时间和内存内读取该录音，请重新录制。",
    ),
    # Callers
    "token_required": _s(
        401,
        "A token is required here. (An operator who answers for consent may open this door with "
        "VOXRELAY_INGEST_ANONYMOUS.)",
        "此处需要令牌。（运营者可通过 VOXRELAY_INGEST_ANONYMOUS 声明已取得同意并开放。）",
    ),
    # Quotas
    "seconds_spent": _s(
        429,
        "The {limit} seconds of speech of this day are spent. It goes on tomorrow (UTC).",
        "今日 {limit} 秒的语音额度已用完，请明日（UTC）再试。",
    ),
    "jobs_unfinished": _s(
        429,
        "{limit} of your jobs are still being worked on. Please wait until one has ended.",
        "您有 {limit} 个任务仍在处理中，请等其中一个完成后再试。",
    ),
    "quota_exceeded": _s(
        429,
        "Too many requests. Please try again in {seconds} s.",
        "请求过于频繁，请 {seconds} 秒后再试。",
    ),
    "idempotency_key_invalid": _s(
        422,
        "Idempotency-Key has to be 1 to 200 visible ASCII characters.",
        "Idempotency-Key 须为 1 到 200 个可见 ASCII 字符。",
    ),
    "idempotency_key_reused": _s(
        422,
        "This Idempotency-Key was used for another request. Please use a new one.",
        "该 Idempotency-Key 已用于另一个请求，请换一个。",
    ),
    "proxy_untrusted": _s(
        403,
        "The request came through a proxy that is not trusted. (Operator: set "
        "VOXRELAY_INGEST_TRUSTED_PROXIES.)",
        "请求经过了未受信任的代理。（运营者：请设置 VOXRELAY_INGEST_TRUSTED_PROXIES。）",
    ),
    "origin_refused": _s(
        403,
        "Pages of other sites may not use this service on your machine. (Operator: set "
        "VOXRELAY_PUBLIC_URL if this is its address.)",
        "其他网站的页面不能使用本机上的服务。（运营者：请把服务地址设为 VOXRELAY_PUBLIC_URL。）",
    ),
    "person_erased": _s(
        410,
        "The data of this person was erased.",
        "该用户的数据已被删除。",
    ),
    # Jobs and their sound
    "job_unknown": _s(404, "There is no such job.", "没有这个任务。"),
    "subscriptions_exceeded": _s(
        429,
        "One connection follows at most {limit} jobs. Unsubscribe from some.",
        "一个连接最多订阅 {limit} 个任务，请先取消一些。",
    ),
    # Webhooks
    "webhook_unknown": _s(404, "There is no such webhook.", "没有这个 webhook。"),
    "webhooks_exceeded": _s(
        422,
        "You have {limit} webhooks already. Please remove one.",
        "最多可登记 {limit} 个 webhook，请先删除一个。",
    ),
    "url_invalid": _s(
        422,
        "The address is not one of https alone, without user, password or fragment.",
        "地址无效：须为不含用户名、密码和片段的 https 地址。",
    ),
    "url_not_https": _s(422, "The address has to begin with https.", "地址必须以 https 开头。"),
    "host_unknown": _s(422, "The host of this address cannot be found.", "找不到该地址的主机。"),
    "address_refused": _s(
        422,
        "The host of this address is not on the public internet. (Operator: networks of your own "
        "are named in VOXRELAY_WEBHOOK_NETWORKS.)",
        "该地址的主机不在公网上。（运营者：可用 VOXRELAY_WEBHOOK_NETWORKS 指定自己的网络。）",
    ),
    "cursor_invalid": _s(
        422, "The cursor is not one that was given out here.", "cursor 参数无效。"
    ),
    "audio_not_ready": _s(409, "This job has no audio yet.", "该任务还没有音频。"),
    "audio_gone": _s(410, "The audio of this job is no longer kept.", "该任务的音频已不再保存。"),
    "link_expired": _s(
        403,
        "This link has expired. Ask for the job again to get a new one.",
        "链接已过期，请重新查询任务以获取新链接。",
    ),
    "link_invalid": _s(403, "This link is not valid.", "链接无效。"),
    "range_unsatisfiable": _s(416, "The range lies outside the file.", "请求的范围超出文件。"),
    # Us
    "unavailable": _s(
        503,
        "A part of the service is not available. Please try again shortly.",
        "服务暂时不可用，请稍后重试。",
    ),
    "not_set_up": _s(
        503,
        "A part of the service is not set up. Its log tells its operator what to do.",
        "服务的部分功能尚未配置完成，运营者可在服务日志中查看处理办法。",
    ),
    "overloaded": _s(
        503,
        "Too many jobs are waiting already. Please try again in a moment.",
        "当前排队任务过多，请稍后重试。",
    ),
    "waited_too_long": _s(
        504,
        "The job is accepted and still being worked on. Ask for it by its id.",
        "任务已受理，仍在处理中，请稍后用 task_id 查询。",
    ),
    "held_for_review": _s(
        202,
        "The request waits for a person to review it. Ask for it by its id.",
        "请求正在等待人工审核，请稍后用 task_id 查询。",
    ),
    "internal_error": _s(
        500, "Something went wrong here. Please try again.", "服务内部出错，请重试。"
    ),
}
