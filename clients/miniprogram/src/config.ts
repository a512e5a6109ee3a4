/** What the team that ships this mini-program sets. There is no secret here: those stay at the relay. */

/** Where the relay is reached: https, without a slash at the end. */
export const RELAY: string = 'https://voice.example'

/** Template of the subscribe message that says a job has ended; none is asked for while empty. */
export const TEMPLATE: string = ''
