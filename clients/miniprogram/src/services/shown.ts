/** What the relay answers, as its `/openapi.json` says; only the fields that are used here. */

export type State =
  | 'accepted'
  | 'uploaded'
  | 'held'
  | 'approved'
  | 'synthesized'
  | 'delivered'
  | 'rejected'
  | 'failed'
  | 'stuck'

export interface Sound {
  url: string
  expires_at: string
  seconds: number
}

export interface Job {
  job_id: string
  state: State
  ended: boolean
  seq: number
  accepted_at: string
  text?: string | null
  steps: { state: State; at: string }[]
  reasons?: { code: string; message: string; where: string }[]
  code?: string | null
  message?: string | null
  synthetic: boolean
  recording?: Sound | null
  audio?: (Sound & { format: string; bytes: number }) | null
  /** Jobs before it, and seconds until its end, where that is known. */
  queue?: { place: number; seconds?: number | null } | null
  variant?: string | null
  /** What its user complained of, once it has ended and was asked for. */
  complaints?: Complaint[] | null
}

/** A report or an appeal: `upheld` once a person has looked. */
export interface Complaint {
  kind: 'report' | 'appeal'
  reason?: Reason | null
  upheld?: boolean | null
}

/** What a request became: a job, or of several manners a job for each, of which it is the first. */
export interface Sent extends Job {
  variants?: Job[] | null
}

/** A saved voice: one's own, or another's that one may use. */
export interface Voice {
  id: string
  name: string
  mine: boolean
  scopes: string[]
}

/** That another may use a voice: somebody, or nobody yet, where the code was not shown. */
export interface Share {
  id: string
  person?: string | null
  created_at: string
}

export interface History {
  jobs: Job[]
  cursor?: string | null
}

export interface Label {
  zh: string
  en: string
}

export interface Style {
  name: string
  label: Label
}

export interface Catalogue {
  styles: Style[]
  dialects: (Style & { instruct?: string })[]
  formats: string[]
  limits: {
    text: number
    recording_seconds: { least: number; most: number }
    recording_bytes: number
    variants: number
    part_bytes: number
  }
  engine: { clones: boolean | null }
}

export type Reason = 'not_my_voice' | 'offensive' | 'fraud' | 'quality' | 'other'

/** Why a job was rejected or held, or failed: a sentence for its user. */
export function why(job: Job): string {
  return job.message || (job.reasons ?? []).map((reason) => reason.message).join(' ')
}
