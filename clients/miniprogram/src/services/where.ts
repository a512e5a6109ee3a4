/** Where in the mini-program jobs are shown: one on its page, those of one lesson side by side. */
export function pageOf(ids: string[]): string {
  return ids.length > 1 ? `/pages/lesson/lesson?ids=${ids.join(',')}` : `/pages/job/job?id=${ids[0]}`
}
