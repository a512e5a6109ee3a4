// Tests run on what the compiler made (`npm run build`): no second compiler, no second truth.
// Those of relay/ and pages/ need a relay: its address comes in VOXRELAY_TEST_RELAY.
const relay = Boolean(process.env.VOXRELAY_TEST_RELAY)
const tests = (...folders) => folders.map((folder) => `<rootDir>/tests/${folder}/*.test.js`)

module.exports = {
  rootDir: 'build',
  watchman: false,
  testTimeout: 60000,
  projects: [
    {
      displayName: 'services',
      rootDir: 'build',
      testEnvironment: 'node',
      testMatch: tests('services', ...(relay ? ['relay'] : [])),
    },
    {
      displayName: 'screen',
      rootDir: 'build',
      testEnvironment: '<rootDir>/tests/environment.js',
      // Not the browser's side of what has two: the network is Node's.
      testEnvironmentOptions: { customExportConditions: ['node', 'require', 'default'] },
      testMatch: tests('components', ...(relay ? ['pages'] : [])),
    },
  ],
}
