// Requests to the relay: as whoever has signed in, and what a refusal says. Knows no element.

import { keepTokens, tokens } from "./store.js";
import { language, t } from "./words.js";

const TRIES = 6;

// The relay said no: `message` is its sentence for the user, `code` what a program goes by.
export class Refused extends Error {
  constructor(status, said) {
    super(said.detail ?? t("network"));
    this.status = status;
    this.code = said.code ?? "";
  }
}

// Nobody answered, or somebody before the relay who knows no better.
export class Unreached extends Error {
  constructor() {
    super(t("network"));
  }
}

let doors = new Set();
let renewing = null;
let lost = () => {};

export function whenSignedOut(then) {
  lost = then;
}

// Which doors this relay has: what is missing is not offered.
export async function openDoors() {
  const { paths } = await get("/openapi.json");
  doors = new Set(Object.entries(paths).flatMap(([path, methods]) =>
    Object.keys(methods).map(method => `${method.toUpperCase()} ${path.replace(/\{\w+\}/g, "*")}`)));
}

export function has(door) {
  return doors.has(door);
}

// The answer, if it is a good one; `Refused` or `Unreached` otherwise.
export async function ask(path, options = {}) {
  let answer = await sent(path, options);
  if (answer.status === 401 && tokens()) {
    await renew();
    answer = await sent(path, options);
  }
  if (answer.ok) return answer;
  if ([502, 504].includes(answer.status)) throw new Unreached();
  const refused = new Refused(answer.status, await answer.json().catch(() => ({})));
  if (refused.status === 401) lost(refused);
  throw refused;
}

export async function get(path) {
  return (await ask(path)).json();
}

export async function post(path, json = {}, method = "POST") {
  const headers = { "Content-Type": "application/json" };
  const answer = await ask(path, { method, headers, body: JSON.stringify(json) });
  const said = await answer.text();
  return said && JSON.parse(said); // many doors have nothing to add
}

// Work that may be done twice, until it is done or refused: a server that restarts is waited for.
export async function patiently(work, tries = TRIES) {
  for (let wait = 500; ; wait = Math.min(wait * 2, 8000)) {
    try {
      return await work();
    } catch (wrong) {
      const passing = wrong instanceof Unreached || wrong.status === 503;
      if (!passing || --tries <= 0) throw wrong;
      await new Promise(resolve => setTimeout(resolve, wait));
    }
  }
}

// An Idempotency-Key. randomUUID exists only in secure contexts, and plain HTTP is served too.
export function freshKey() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, byte => byte.toString(16).padStart(2, "0")).join("");
}

// A sign-in link is good once; a key of a server's is a token itself.
export async function signIn(proof) {
  const link = /sign-in=([\w-]+)/.exec(proof)?.[1];
  if (link) return keepTokens(await proved("/v1/session", { link }));
  keepTokens({ access_token: proof.trim() });
  try {
    return await get("/v1/session");
  } catch (wrong) {
    keepTokens(null);
    throw wrong;
  }
}

export async function signOut() {
  try {
    await ask("/v1/session", { method: "DELETE" });
  } finally {
    keepTokens(null);
  }
}

// What lies at a signed address; null where this page cannot have it. Its bearer needs no token.
export async function soundAt(address) {
  try {
    const answer = await fetch(address);
    return answer.ok ? await answer.blob() : null;
  } catch (wrong) {
    if (wrong instanceof TypeError) return null;
    throw wrong;
  }
}

async function sent(path, { headers, ...options }) {
  const own = { "Accept-Language": language(), ...headers };
  const held = tokens();
  if (held) own.Authorization = `Bearer ${held.access_token}`;
  try {
    return await fetch(path, { ...options, headers: own });
  } catch (wrong) {
    if (wrong instanceof TypeError) throw new Unreached();
    throw wrong;
  }
}

// Fresh tokens, asked for once however many requests met the old one: a refresh token is good once.
function renew() {
  renewing ??= renewed().finally(() => { renewing = null; });
  return renewing;
}

async function renewed() {
  const held = tokens();
  try {
    if (!held.refresh_token) throw new Refused(401, { detail: t("signed_out"), code: "token_required" });
    keepTokens(await proved("/v1/session/refresh", { refresh_token: held.refresh_token }));
  } catch (wrong) {
    if (wrong instanceof Refused) {
      keepTokens(null);
      lost(wrong);
    }
    throw wrong;
  }
}

async function proved(path, json) {
  const headers = { "Content-Type": "application/json", "Accept-Language": language() };
  let answer;
  try {
    answer = await fetch(path, { method: "POST", headers, body: JSON.stringify(json) });
  } catch {
    throw new Unreached(); // fetch fails for no other reason
  }
  const said = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Refused(answer.status, said);
  return said;
}
