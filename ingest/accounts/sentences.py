"""What a door says of tokens, keys and signing in; `ingest.sentences` has them all."""

from __future__ import annotations

from ingest.sentence import Sentence
from ingest.sentence import said as _s

ACCOUNTS: dict[str, Sentence] = {
    "token_invalid": _s(
        401, "The token is not one of ours. Please sign in again.", "令牌无效，请重新登录。"
    ),
    "token_expired": _s(
        401,
        "The token has expired. Get a fresh one with your refresh token, or sign in again.",
        "令牌已过期，请用 refresh_token 换取新令牌，或重新登录。",
    ),
    "token_revoked": _s(
        401, "This session was ended. Please sign in again.", "该会话已结束，请重新登录。"
    ),
    "refresh_invalid": _s(
        401,
        "The refresh token is not valid, or was used before. Please sign in again.",
        "refresh_token 无效或已被使用，请重新登录。",
    ),
    "key_invalid": _s(401, "The key is not one of ours.", "密钥无效。"),
    "key_revoked": _s(
        401,
        "This key was revoked. Ask the operator for another.",
        "该密钥已被撤销，请向运营者申请新的密钥。",
    ),
    "key_expired": _s(
        401,
        "This key has expired. Ask the operator for another.",
        "该密钥已过期，请向运营者申请新的密钥。",
    ),
    "scope_missing": _s(
        403, "Your token does not allow this: it lacks {scope}.", "当前令牌没有该权限：{scope}。"
    ),
    "scope_beyond_role": _s(
        422, "The role {role} has not all of these scopes.", "角色 {role} 不具备所请求的全部权限。"
    ),
    "person_unknown": _s(422, "There is no such person here.", "没有这个用户。"),
    "key_unknown": _s(404, "There is no such key, or it has ended.", "没有这个密钥，或它已失效。"),
    # Signing in
    "proof_ambiguous": _s(
        422,
        "Send either wechat_code or link, and not both.",
        "请提供 wechat_code 或 link 其中之一。",
    ),
    "wechat_off": _s(
        422,
        "Nobody signs in through WeChat here. (Operator: set VOXRELAY_WECHAT_APP and "
        "VOXRELAY_WECHAT_SECRET.)",
        "此处未开通微信登录。（运营者：请设置 VOXRELAY_WECHAT_APP 和 VOXRELAY_WECHAT_SECRET。）",
    ),
    "code_refused": _s(
        401,
        "WeChat does not know this code, or it was used before. Call wx.login again.",
        "登录凭证无效或已使用，请重新调用 wx.login。",
    ),
    "sign_in_refused": _s(403, "WeChat does not let this user sign in.", "微信已限制该用户登录。"),
    "sign_in_too_often": _s(
        429, "Too many sign-ins. Please try again in a minute.", "登录过于频繁，请一分钟后再试。"
    ),
    "sign_in_link_invalid": _s(
        401,
        "This link was used before or has expired. (Operator: `voxrelay access link` makes one.)",
        "该链接已使用或已过期。（运营者：可用 voxrelay access link 生成新的链接。）",
    ),
    "wechat_unavailable": _s(
        503, "WeChat does not answer. Please try again shortly.", "微信暂时没有响应，请稍后重试。"
    ),
    "wechat_misconfigured": _s(
        503,
        "Signing in does not work here just now. (Operator: WeChat answers errcode {errcode}; "
        "check AppID, AppSecret and the list of addresses that may ask.)",
        "登录暂不可用。（运营者：微信返回 errcode {errcode}，请检查 AppID、AppSecret "
        "和 IP 白名单。）",
    ),
}
