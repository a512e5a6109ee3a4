// Tests run on what the compiler made (`npm run build`): no second compiler, no second truth.
// Those in relay/ need a relay: its address comes in VOXRELAY_TEST_RELAY.
module.exports = {
  rootDir: 'build',
  testMatch: ['<rootDir>/tests/**/*.test.js'],
  testPathIgnorePatterns: process.env.VOXRELAY_TEST_RELAY ? [] : ['/tests/relay/'],
  testEnvironment: 'node',
  watchman: false,
  testTimeout: 60000,
}
