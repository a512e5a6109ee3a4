/** A browser's document for the simulator, with Node's own network beside it. */

import JsdomEnvironment from 'jest-environment-jsdom'

export default class extends JsdomEnvironment {
  constructor(...given: ConstructorParameters<typeof JsdomEnvironment>) {
    super(...given)
    Object.assign(this.global, { fetch, FormData, Blob, Headers, Request, Response })
  }
}
