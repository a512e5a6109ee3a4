// The way of a job, as it is shown: which stages lie behind it, which it is in. Pure; knows no element.

const WAY = ["accepted", "approved", "synthesized", "delivered"];
const BAD = new Set(["rejected", "failed", "stuck"]);
const ASIDE = new Set(["held", "reviewed", ...BAD]);

// [{state, at, is}]: `is` says done, now, next, bad or warm.
export function stages(job) {
  const seen = new Map([["accepted", job.accepted_at], ...job.steps.map(step => [step.state, step.at])]);
  const way = [...WAY.filter(state => seen.has(state)), ...[...ASIDE].filter(state => seen.has(state))];
  const shown = way.sort((a, b) => seen.get(a).localeCompare(seen.get(b)));
  const behind = shown.map(state => ({ state, at: seen.get(state), is: kind(state, job) }));
  const over = job.ended || BAD.has(job.state);
  const ahead = over ? [] : WAY.filter(state => !seen.has(state)).map(state => ({ state, is: "next" }));
  if (ahead.length && job.state !== "held") ahead[0].is = "now";
  return [...behind, ...ahead];
}

function kind(state, job) {
  if (BAD.has(state)) return "bad";
  return state === "held" && job.state === "held" ? "warm" : "done";
}

// Why a job did not end well, for its user.
export function why(job) {
  const reasons = (job.reasons ?? []).map(reason => reason.message);
  return [...reasons, job.message ?? ""].join(" ").trim();
}
