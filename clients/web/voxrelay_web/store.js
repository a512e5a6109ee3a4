// What this browser keeps: choices, how each job was asked for, who has signed in.
// Refuses to keep a voice or a text.

const JOBS = "jobs", MOST = 60;

export function choice(name) {
  return localStorage.getItem(name);
}

export function choose(name, value) {
  localStorage.setItem(name, value);
}

// Tokens live as long as the tab.
export function tokens() {
  return JSON.parse(sessionStorage.getItem("tokens") ?? "null");
}

export function keepTokens(given) {
  if (given) sessionStorage.setItem("tokens", JSON.stringify(given));
  else sessionStorage.removeItem("tokens");
}

// [{id, manner, ended}], newest first: `manner` is what "again" needs and the relay does not tell.
export function jobs() {
  return JSON.parse(localStorage.getItem(JOBS) ?? "[]");
}

export function keepJob(id, manner) {
  const others = jobs().filter(job => job.id !== id);
  localStorage.setItem(JOBS, JSON.stringify([{ id, manner, ended: false }, ...others].slice(0, MOST)));
}

export function endJob(id) {
  const all = jobs().map(job => (job.id === id ? { ...job, ended: true } : job));
  localStorage.setItem(JOBS, JSON.stringify(all));
}

export function dropJob(id) {
  localStorage.setItem(JOBS, JSON.stringify(jobs().filter(job => job.id !== id)));
}

export function mannerOf(id) {
  return jobs().find(job => job.id === id)?.manner ?? {};
}
