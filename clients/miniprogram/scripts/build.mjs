// Compiles sources and tests into build/, and lays beside them what is not code, as DevTools does.
import { execFileSync } from 'node:child_process'
import { cpSync, rmSync } from 'node:fs'
import { dirname, extname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = join(dirname(fileURLToPath(import.meta.url)), '..')
const build = join(root, 'build')

rmSync(build, { recursive: true, force: true })
const tsc = join(root, 'node_modules', 'typescript', 'bin', 'tsc')
execFileSync(process.execPath, [tsc, '-p', join(root, 'tests')], { stdio: 'inherit' })
cpSync(join(root, 'src'), join(build, 'src'), {
  recursive: true,
  filter: (path) => extname(path) !== '.ts',
})
