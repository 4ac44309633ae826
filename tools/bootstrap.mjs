/**
 * Runs a file of this checkout on Node 24, also from a clean clone and from Node 20 with nothing installed:
 *   node tools/bootstrap.mjs FILE [ARGUMENT…]
 * Installs what package-lock.json names when that has not been done or the lock file has changed since. Plain
 * JavaScript without imports from node_modules, because it runs before they exist.
 *   node tools/bootstrap.mjs --prepare
 * is what npm calls after each install: it notes what was installed and builds the bundles where that is possible.
 */
import { spawn, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { accessSync, constants, existsSync, readFileSync, writeFileSync } from 'node:fs';
import { delimiter, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const modules = join(root, 'node_modules');
const node24 = join(modules, 'node', 'bin', 'node');
const stampFile = join(modules, '.tableset-installed');

/** What an installation belongs to: the lock file's content and the platform that the binaries are for. */
function currentStamp() {
  const lock = readFileSync(join(root, 'package-lock.json'));
  return `${createHash('sha256').update(lock).digest('hex')} ${process.platform} ${process.arch}\n`;
}

function isInstalled() {
  if (existsSync(stampFile) && readFileSync(stampFile, 'utf8') === currentStamp()) return true;
  if (!matchesLock()) return false;
  writeFileSync(stampFile, currentStamp());
  return true;
}

/**
 * Whether node_modules, as npm itself noted it, holds what the lock file names: true after npm install NAME, which
 * changes the lock file without calling prepare.
 */
function matchesLock() {
  const noted = join(modules, '.package-lock.json');
  if (!existsSync(noted)) return false;
  const wanted = JSON.parse(readFileSync(join(root, 'package-lock.json'), 'utf8')).packages;
  const present = JSON.parse(readFileSync(noted, 'utf8')).packages;
  return Object.entries(wanted).every(([path, entry]) => {
    // Workspaces are links to folders of this checkout; optional packages may be for other platforms.
    if (!path.includes('node_modules/') || entry.link || entry.optional || entry.devOptional) return true;
    return present[path]?.version === entry.version && present[path]?.integrity === entry.integrity;
  });
}

function fail(message) {
  console.error(`tableset: ${message}`);
  process.exit(2);
}

/** A Node outside node_modules, because npm ci removes that folder and the Node in it. */
function outsideNode() {
  if (!process.execPath.startsWith(modules)) return process.execPath;
  for (const folder of (process.env.PATH ?? '').split(delimiter)) {
    if (folder === '' || folder.startsWith(modules) || folder.includes('node_modules')) continue;
    const candidate = join(folder, 'node');
    try {
      accessSync(candidate, constants.X_OK);
      return candidate;
    } catch {
      // Not in this folder of PATH: look in the next.
    }
  }
  return process.execPath;
}

function install() {
  console.error('tableset: installing what package-lock.json names (npm ci) …');
  const npm = process.env.npm_execpath;
  const options = { cwd: root, stdio: ['ignore', 2, 2] };
  const flags = ['ci', '--no-audit', '--no-fund'];
  const result =
    npm !== undefined && /npm-cli\.c?js$/.test(npm) && existsSync(npm)
      ? spawnSync(outsideNode(), [npm, ...flags], options)
      : spawnSync('npm', flags, options);
  if (result.error !== undefined) fail(`npm could not be started: ${result.error.message}`);
  if (result.status !== 0) fail('npm ci failed: read its message above');
  ensureNode24();
  writeFileSync(stampFile, currentStamp());
}

/** With ignore-scripts in npm's settings, Node 24's binary was not put in place: its own script does that. */
function ensureNode24() {
  if (!existsSync(node24)) {
    const script = join(modules, 'node', 'installArchSpecificPackage.js');
    if (existsSync(script)) spawnSync(outsideNode(), [script], { cwd: dirname(script), stdio: ['ignore', 2, 2] });
  }
  if (!existsSync(node24)) fail(`Node 24 is missing in ${modules}: run npm ci with scripts allowed`);
}

/** Never fails an install: without the bundles, the launchers run the sources. */
function prepare() {
  const without = (reason) => {
    console.error(`tableset: bundles not built: ${reason}; the launchers run the sources, npm run build builds them`);
  };
  if (!existsSync(node24)) return without('Node 24 is not installed (install scripts are off)');
  writeFileSync(stampFile, currentStamp());
  if (!existsSync(join(modules, 'esbuild'))) return without('esbuild is not installed (development packages left out)');
  const result = spawnSync(node24, [join(root, 'tools', 'build.ts')], { cwd: root, stdio: ['ignore', 2, 2] });
  if (result.status !== 0) without('the build failed, see above');
}

/** Runs the file and ends as it ended; the child hears of the signals that this process gets. */
function run(file, args) {
  const child = spawn(node24, [join(root, file), ...args], {
    stdio: 'inherit',
    env: { ...process.env, PATH: `${join(modules, '.bin')}${delimiter}${process.env.PATH ?? ''}` },
  });
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => child.kill(signal));
  child.on('error', (error) => fail(`${node24} could not be started: ${error.message}`));
  child.on('exit', (code, signal) => {
    if (signal === null) process.exit(code ?? 1);
    process.removeAllListeners(signal);
    process.kill(process.pid, signal);
  });
}

if (Number.parseInt(process.versions.node, 10) < 20)
  fail(`needs Node 20 or newer to start, this is ${process.version}`);
const [file, ...args] = process.argv.slice(2);
if (file === '--prepare') {
  prepare();
} else if (file === undefined) {
  fail('usage: node tools/bootstrap.mjs FILE [ARGUMENT…]');
} else {
  if (!isInstalled()) install();
  ensureNode24();
  run(file, args);
}
