// The page's words in Chinese and English. Knows which of the two is spoken.

import { choice, choose } from "./store.js";

export const WORDS = {
  zh: {
    other: "English", other_label: "Switch to English", tagline: "用一小段录音的声音，说出你的文字", skip: "跳到内容",
    theme: "外观：{theme}", theme_auto: "跟随系统", theme_dark: "深色", theme_light: "浅色", views: "页面",
    tab_speak: "生成", tab_history: "历史", tab_voices: "声音", tab_operator: "运营",
    sign_in: "登录", sign_in_hint: "此服务需要登录。请打开运营者给你的登录链接，或把链接或访问密钥粘贴到这里。",
    proof: "登录链接或密钥", signed_in: "已登录。", signed_out: "登录已过期，请重新登录。", sign_out: "退出",
    lost: "连接中断，正在重连……任务不会丢失。", network: "无法连接服务，请重试。",
    voice: "声音", guide_title: "读一句话", guide: "今天天气不错，我想出去走一走，顺便买点水果。",
    tip_quiet: "找个安静的地方", tip_near: "离麦克风一掌远", tip_plain: "用平常的语气，3 到 10 秒",
    consent: "这是我自己的声音，或者我已得到本人同意在此使用。", record: "开始录音", record_again: "重新录音", stop: "停止",
    or_file: "或把音频文件拖到这里", choose: "选择文件", seconds_left: "剩余秒数", level: "音量",
    insecure: "此页面不是经 HTTPS 或 localhost 打开的，浏览器不允许录音。请选择文件。",
    microphone_refused: "浏览器没有允许使用麦克风。请在地址栏旁的网站设置中允许麦克风后重试，或选择一个音频文件。",
    microphone_none: "没有找到麦克风。请连接麦克风后重试，或选择一个音频文件。",
    recording_now: "正在录音", my_recording: "我的录音",
    voice_good: "听起来不错。", voice_silent: "几乎没有声音。请检查麦克风后重录。", voice_quiet: "声音太小。请靠近麦克风重录。",
    voice_loud: "声音太大，有破音。请离麦克风远一些重录。", voice_short: "录音太短，至少需要 {least} 秒。",
    voice_long: "录音太长，最多 {most} 秒。", voice_unread: "浏览器无法预览此文件，可以直接发送试试。",
    saved: "或使用保存的声音", saved_none: "不使用", save_voice: "保存这个声音", voice_name: "名称", whose: "谁的声音",
    of_self: "我自己的", of_other: "他人的，已得到本人同意", voice_saved: "已保存“{name}”。",
    words: "文字", placeholder: "输入要说的话……", reading: "标注多音字", reading_hint: "点一个字，选择它的读音。带下划线的字有多种读音。",
    read_several: "{character}，有多种读音", read_one: "{character}", how_read: "“{character}”怎么读？", pinyin: "拼音",
    pinyin_hint: "例如 hao4 或 hào；5 是轻声。", no_pinyin: "“{said}”不是一个拼音音节。", read_as: "{character} 读作 {said}", use: "使用",
    manner: "怎么说", styles: "风格", dialects: "方言", plain: "自然", lesson: "方言课：同一段录音，几种方言对照",
    more_choices: "更多选项", mode: "录音与文字", zero_shot: "同一种语言", cross_lingual: "不同语言", instruct: "用文字描述",
    instruct_hint: "例如：请轻声地说。", speed: "语速", format: "格式",
    send: "生成语音", sending: "正在发送", need_voice: "请先录音或选择文件。", need_text: "请输入文字。",
    need_consent: "请先确认声音的使用已得到同意。", text_long: "文字太长，最多 {most} 个字。", file_large: "文件太大，最多 {most} MB。",
    recording_gone: "这段录音已不再保存，请重新录音。", work: "结果", in_work: "正在进行",
    state_accepted: "已受理", state_uploaded: "已排队", state_approved: "审核通过", state_held: "等待人工审核", state_reviewed: "人工审核完成",
    state_synthesized: "已合成", state_delivered: "完成", state_rejected: "未通过", state_failed: "失败", state_stuck: "遇到问题",
    now_accepted: "正在审核", now_uploaded: "正在审核", now_held: "等待人工审核", now_reviewed: "即将合成", now_approved: "正在合成",
    now_synthesized: "正在编码", now_stuck: "遇到问题，运营者正在处理", done_sentence: "完成了，对比听一听。",
    next_in_line: "下一个就是你", before_you: "前面还有 {place} 个", about: "约 {seconds} 秒",
    standin: "示范音色（不是你的声音）", cloned: "你的声音", track_recording: "A · 录音", track_result: "B · 合成", compare: "对比录音与合成",
    switch: "切换 A / B", play: "播放 {label}", pause: "暂停 {label}", position: "{label} 的位置", of_seconds: "第 {at} 秒，共 {seconds} 秒",
    download: "下载", share: "分享", share_link: "分享链接", share_hint: "任何拿到链接的人都能听到，并看到“AI 合成”的标识。有效期至 {end}。",
    share_on: "分享", share_title: "VoxRelay · AI 合成语音", copy: "复制", copied: "已复制", close: "关闭", again: "再来一次",
    is_public: "已公开分享，至 {end}", open_link: "打开链接", withdraw: "撤回链接", withdrawn: "链接已撤回。", shared: "已分享",
    withdraw_hint: "撤回后，拿到链接的人都不能再听，这个链接永远失效。", only_shared: "只看已分享的", shared_none: "没有公开分享的结果。",
    rate: "评分", of_stars: "{stars} 星", thanks: "谢谢你的评分。",
    report: "举报", report_why: "原因", report_not_my_voice: "未经本人同意的声音", report_offensive: "冒犯性内容", report_fraud: "欺诈", report_quality: "质量问题",
    report_other: "其他", note: "说明", send_report: "提交举报", reported: "已收到举报，运营者会处理。",
    appeal: "申诉", appeal_hint: "运营者会人工复核这次审核。", send_appeal: "提交申诉", appealed: "已收到申诉，运营者会复核。",
    undecided: "已收到，等待人工处理", upheld: "已处理：成立", not_upheld: "已处理：不成立",
    cancel: "取消", save: "保存", done: "完成", history: "历史", past_none: "还没有任务。", more: "更多", text_gone: "（文字已删除）",
    voices: "保存的声音", voices_none: "还没有保存的声音。录音后可以在“生成”页保存。", voice_mine: "我的", voice_shared: "他人分享给我的",
    rename: "改名", renamed: "已改名。", revoke: "撤销", revoked: "已撤销。", revoke_hint: "撤销“{name}”后，它立即不能再用于新的任务，尚未合成的任务也会终止。",
    shares: "谁可以使用", shares_none: "没有分享给别人。", share_taken: "已被使用的分享", share_waits: "尚未使用的分享码", unshare: "停止分享",
    share_code: "分享码", share_voice_hint: "把这个码交给对方，对方即可用这个声音生成语音。你可以随时撤销。", accept: "使用分享码", accept_hint: "收到了分享码？", voice_accepted: "已添加声音。",
    operator: "运营", review: "等待人工处理", review_none: "没有等待处理的内容。", kind_held: "待审核", kind_report: "举报", kind_appeal: "申诉",
    heard: "录音内容：{transcript}", deadline: "提交于 {since} · 截止 {deadline}", approve: "通过", reject: "拒绝", reason: "理由", decided: "已处理。",
    dead: "死信", dead_none: "没有死信。", redrive: "重新投递", discard: "丢弃", status: "状态", yes: "是", no: "否", figures: "最近一小时", audit: "审计",
  },
  en: {
    other: "中文", other_label: "切换为中文", tagline: "Your words, in the voice of a short recording", skip: "Skip to the content",
    theme: "Appearance: {theme}", theme_auto: "as the system", theme_dark: "dark", theme_light: "light", views: "Views",
    tab_speak: "Speak", tab_history: "History", tab_voices: "Voices", tab_operator: "Operator",
    sign_in: "Sign in", sign_in_hint: "This relay wants to know who you are. Open the link that its operator gave you, or paste the link or an access key here.",
    proof: "Sign-in link or key", signed_in: "You are signed in.", signed_out: "Your session has ended. Please sign in again.", sign_out: "Sign out",
    lost: "The connection was lost; trying again… Your jobs are safe.", network: "The service cannot be reached. Please try again.",
    voice: "Voice", guide_title: "Read one sentence", guide: "It is a fine day; I think I will go for a walk and buy some fruit.",
    tip_quiet: "Somewhere quiet", tip_near: "A hand's breadth from the microphone", tip_plain: "As you would say it, 3 to 10 seconds",
    consent: "This is my own voice, or its owner has agreed that it is used here.", record: "Record", record_again: "Record again", stop: "Stop",
    or_file: "or drop an audio file here", choose: "Choose a file", seconds_left: "seconds left", level: "Level",
    insecure: "This page was not opened by HTTPS or on localhost, so the browser does not let it record. Please choose a file.",
    microphone_refused: "The browser did not let us use the microphone. Allow it in the site settings beside the address and try again, or choose an audio file.",
    microphone_none: "No microphone was found. Connect one and try again, or choose an audio file.",
    recording_now: "Recording", my_recording: "My recording",
    voice_good: "Sounds good.", voice_silent: "There is hardly any sound. Check the microphone and record again.", voice_quiet: "This is very quiet. Come closer to the microphone and record again.",
    voice_loud: "This is too loud and distorts. Move back from the microphone and record again.", voice_short: "The recording is too short: at least {least} s are needed.",
    voice_long: "The recording is too long: {most} s at most.", voice_unread: "This browser cannot preview the file; you may send it all the same.",
    saved: "or use a saved voice", saved_none: "none", save_voice: "Save this voice", voice_name: "Name", whose: "Whose voice",
    of_self: "my own", of_other: "somebody else's, who has agreed", voice_saved: "“{name}” is saved.",
    words: "Words", placeholder: "What should be said…", reading: "Mark a reading", reading_hint: "Tap a character to say how it is read. Those underlined have several readings.",
    read_several: "{character}, has several readings", read_one: "{character}", how_read: "How is “{character}” read?", pinyin: "Pinyin",
    pinyin_hint: "Such as hao4 or hào; 5 is the neutral tone.", no_pinyin: "“{said}” is no syllable of pinyin.", read_as: "{character} is read {said}", use: "Use",
    manner: "Manner", styles: "Style", dialects: "Dialect", plain: "Natural", lesson: "Dialect lesson: one recording, several dialects side by side",
    more_choices: "More choices", mode: "Recording and text", zero_shot: "in one language", cross_lingual: "in two languages", instruct: "In words",
    instruct_hint: "Such as: speak softly.", speed: "Speed", format: "Format",
    send: "Make speech", sending: "Sending", need_voice: "Please record or choose a file first.", need_text: "Please enter a text.",
    need_consent: "Please confirm first that the voice may be used.", text_long: "The text is too long: {most} characters at most.", file_large: "The file is too large: {most} MB at most.",
    recording_gone: "This recording is kept no more. Please record again.", work: "Results", in_work: "In work",
    state_accepted: "Accepted", state_uploaded: "Queued", state_approved: "Approved", state_held: "Waits for a person", state_reviewed: "Reviewed",
    state_synthesized: "Spoken", state_delivered: "Done", state_rejected: "Refused", state_failed: "Failed", state_stuck: "Met a problem",
    now_accepted: "Being reviewed", now_uploaded: "Being reviewed", now_held: "Waits for a person's review", now_reviewed: "About to be spoken", now_approved: "Being spoken",
    now_synthesized: "Being encoded", now_stuck: "Met a problem; the operator is looking at it", done_sentence: "Done. Listen and compare.",
    next_in_line: "you are next", before_you: "{place} before you", about: "about {seconds} s",
    standin: "a stand-in voice (not yours)", cloned: "your voice", track_recording: "A · Recording", track_result: "B · Result", compare: "Compare the recording and the result",
    switch: "Switch A / B", play: "Play {label}", pause: "Pause {label}", position: "Position in {label}", of_seconds: "{at} of {seconds} seconds",
    download: "Download", share: "Share", share_link: "Link to share", share_hint: "Whoever has this link can listen, and sees that the sound is synthetic. It is good until {end}.",
    share_on: "Share", share_title: "VoxRelay · synthetic speech", copy: "Copy", copied: "Copied", close: "Close", again: "Again",
    is_public: "Shared by link until {end}", open_link: "Open the link", withdraw: "Withdraw the link", withdrawn: "The link was withdrawn.", shared: "shared",
    withdraw_hint: "Nobody who has the link can listen any more, and it never works again.", only_shared: "Only what is shared", shared_none: "Nothing is shared by link.",
    rate: "Rate it", of_stars: "{stars} of 5 stars", thanks: "Thank you for rating.",
    report: "Report", report_why: "Why", report_not_my_voice: "A voice used without consent", report_offensive: "Offensive", report_fraud: "Fraud", report_quality: "Bad quality",
    report_other: "Something else", note: "Note", send_report: "Send the report", reported: "The report was received; the operator will look at it.",
    appeal: "Appeal", appeal_hint: "A person will look at this decision again.", send_appeal: "Send the appeal", appealed: "The appeal was received; a person will look at it.",
    undecided: "received; a person will look at it", upheld: "decided: you were right", not_upheld: "decided: it stays as it was",
    cancel: "Cancel", save: "Save", done: "Done", history: "History", past_none: "There are no jobs yet.", more: "More", text_gone: "(the text was erased)",
    voices: "Saved voices", voices_none: "No voices are saved. Record one under Speak, and save it there.", voice_mine: "mine", voice_shared: "shared with me",
    rename: "Rename", renamed: "Renamed.", revoke: "Revoke", revoked: "Revoked.", revoke_hint: "Once “{name}” is revoked no new job can use it, and jobs not yet spoken end.",
    shares: "Who may use it", shares_none: "Nobody else.", share_taken: "somebody who showed the code", share_waits: "a code nobody has shown yet", unshare: "Stop sharing",
    share_code: "Code to share", share_voice_hint: "Whoever you hand this code to can speak with this voice. You can revoke it at any time.", accept: "Use the code", accept_hint: "Were you given a code?", voice_accepted: "The voice was added.",
    operator: "Operator", review: "Waits for a person", review_none: "Nothing waits.", kind_held: "Held prompt", kind_report: "Report", kind_appeal: "Appeal",
    heard: "Heard in the recording: {transcript}", deadline: "since {since} · due {deadline}", approve: "Approve", reject: "Reject", reason: "Reason", decided: "Decided.",
    dead: "Dead letters", dead_none: "There are no dead letters.", redrive: "Redrive", discard: "Discard", status: "Status", yes: "yes", no: "no", figures: "The last hour", audit: "Audit",
  },
};

let spoken = choice("language") ?? (navigator.language.startsWith("zh") ? "zh" : "en");

export function language() {
  return spoken;
}

// How dates and numbers are written: as the browser's user does, if they read this language.
export function locale() {
  return navigator.languages.find(each => each.startsWith(spoken)) ?? spoken;
}

// The words for `key`, `{facts}` filled in; the key itself where there are none, as a state may be new.
export function t(key, facts = {}) {
  return (WORDS[spoken][key] ?? key).replace(/\{(\w+)\}/g, (_, name) => facts[name]);
}

// Speak `chosen` from now on: what stands in the page at once, the rest when it hears of it.
export function speak(chosen) {
  if (chosen !== spoken) choose("language", chosen);
  spoken = chosen;
  document.documentElement.lang = spoken === "zh" ? "zh-CN" : "en";
  for (const el of document.querySelectorAll("[data-t]")) el.textContent = t(el.dataset.t);
  for (const el of document.querySelectorAll("[data-t-label]")) el.setAttribute("aria-label", t(el.dataset.tLabel));
  for (const el of document.querySelectorAll("[data-t-placeholder]")) el.placeholder = t(el.dataset.tPlaceholder);
  document.dispatchEvent(new Event("language"));
}
