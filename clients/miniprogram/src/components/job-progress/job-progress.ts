/** Where a job stands: its state, its place in the queue, how long it may take, or why it ended. */

import { Job, State, why } from '../../services/shown'
import { filled, Texts } from '../../texts/index'

const PERCENT: Record<State, number> = {
  accepted: 10,
  uploaded: 25,
  held: 35,
  approved: 50,
  synthesized: 85,
  stuck: 50,
  delivered: 100,
  rejected: 100,
  failed: 100,
}

Component({
  properties: {
    t: { type: Object, value: {} as Texts },
    job: { type: Object, value: {} as Job },
  },

  data: { percent: 0, status: 'active', state: '', queue: '', why: '' },

  observers: {
    'job, t'(job: Job, t: Texts) {
      if (!job.state) return
      const sound = job.state === 'delivered'
      this.setData({
        percent: PERCENT[job.state] ?? 50,
        status: !job.ended ? 'active' : sound ? 'success' : 'error',
        state: t[`state_${job.state}`] ?? job.state,
        queue: waiting(job, t),
        why: sound ? '' : why(job),
      })
    },
  },
})

function waiting({ queue, ended }: Job, t: Texts): string {
  if (!queue || ended) return ''
  const place = queue.place > 0 ? filled(t.place, queue.place) : ''
  const estimate = queue.seconds == null ? '' : filled(t.estimate, Math.ceil(queue.seconds))
  return [place, estimate].filter(Boolean).join(' · ')
}
