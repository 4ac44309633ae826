import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { startHttpProxy } from '../loader/test/stores/http-proxy.ts';
import { startFaultProxy } from '../test/fault-proxy.ts';
import { converge, judge, look } from './cutter.ts';
import { type Finding, finding } from './findings.ts';
import type { TortureOptions } from './options.ts';
import type { Programs } from './program/build.ts';
import { randomFrom, sample } from './random.ts';
import { Tally } from './report.ts';
import { type Scenario, scenarios } from './scenarios.ts';
import { type Backends, openStage, type Stage } from './stage.ts';
import { tell } from './tell.ts';

const run = promisify(execFile);

/** Those that need no server of their own. */
export async function quietDisasters(
  backends: Backends,
  server: Backends['servers'][number],
  options: TortureOptions,
  programs: Programs,
): Promise<readonly Tally[]> {
  const tallies: Tally[] = [];
  const few = options.slice ? 1 : (options.points ?? 1_000);
  for (const store of ['filesystem', 'sqlite'] as const) {
    if (!options.stores.includes(store) || !options.scenarios.includes('archive')) continue;
    await using stage = await openStage(backends, server, store);
    const tally = new Tally('the disk is full', 'archive', server.flavour, store);
    await using disk = await mountSmallDisk(join(stage.folder, 'files'));
    if (disk === null) {
      tell('!!! Full disks are left out: only root can mount a small one');
      break;
    }
    for (const kilobytes of sample(disk.sizes, few, randomFrom(options.seed)))
      note(tally, `${kilobytes} KiB`, await fillDisk(stage, programs, disk, kilobytes));
    finish(tallies, tally);
  }
  if (backends.s3 && options.stores.includes('s3'))
    for (const scenario of archiving(options)) {
      await using stage = await openStage(backends, server, 's3');
      const tally = new Tally('the store answers 503 from then on', scenario.name, server.flavour, 's3');
      await awayFrom(stage, scenario, programs, few, options.seed, tally);
      finish(tallies, tally);
    }
  for (const store of ['filesystem', 'mysql'] as const) {
    if (!options.stores.includes(store)) continue;
    await using stage = await openStage(backends, server, store);
    for (const scenario of scenarios.filter(
      ({ name, archives }) => options.scenarios.includes(name) && (archives || store === 'mysql'),
    )) {
      const tally = new Tally(
        "the program's clock is wrong",
        scenario.name,
        server.flavour,
        scenario.archives ? store : '',
      );
      for (const clock of sample(clocks, few, randomFrom(options.seed)))
        note(
          tally,
          `${clock.days} days${clock.jumps ? ', from the middle on' : ''}${clock.stalls ? ', silent' : ''}`,
          await shiftClock(stage, scenario, programs, clock),
        );
      finish(tallies, tally);
    }
  }
  return tallies;
}

export function archiving(options: TortureOptions): readonly Scenario[] {
  return scenarios.filter(({ name, archives }) => archives && options.scenarios.includes(name));
}

export interface Result {
  readonly struck: boolean;
  readonly findings: readonly Finding[];
}

export function note(tally: Tally, place: string, { struck, findings }: Result): void {
  tally.add(struck, findings);
  for (const each of findings) tell(`✗ ${tally.part}: ${tally.verb} ${tally.server} ${tally.store} at ${place}`, each);
}

export function finish(tallies: Tally[], tally: Tally): void {
  tell(
    `${tally.part}: ${tally.verb} ${tally.server} ${tally.store}: ${tally.points} points, ${tally.converged} converged`,
  );
  tallies.push(tally);
}

interface SmallDisk extends AsyncDisposable {
  readonly sizes: readonly number[];
  resize(kilobytes: number): Promise<void>;
}

const roomKilobytes = 4_096;

/** A disk in memory, of so few pages that a run fills it at each of its writes in turn; null where it cannot be mounted. */
async function mountSmallDisk(path: string): Promise<SmallDisk | null> {
  try {
    await run('mount', ['-t', 'tmpfs', '-o', `size=${roomKilobytes}k`, 'tmpfs', path]);
  } catch {
    return null;
  }
  return {
    sizes: Array.from({ length: 24 }, (_, index) => 4 * (index + 1)),
    resize: async (kilobytes) => void (await run('mount', ['-o', `remount,size=${kilobytes}k`, path])),
    [Symbol.asyncDispose]: async () => void (await run('umount', ['--lazy', path])),
  };
}

async function fillDisk(stage: Stage, programs: Programs, disk: SmallDisk, kilobytes: number): Promise<Result> {
  const [scenario] = scenarios;
  if (scenario?.name !== 'archive') throw new RangeError('archive comes first');
  const checks = await scenario.prepare(stage, programs);
  await disk.resize(kilobytes);
  const ended = await stage.run(programs, scenario.verb, scenario.words);
  const findings = [...judge(ended), ...(await look(stage, checks, ended.exit === 0 ? 'done' : 'struck'))];
  await disk.resize(roomKilobytes);
  findings.push(...(await converge(stage, scenario, programs, checks)));
  return { struck: ended.exit !== 0, findings };
}

/** For each request of a run: from it on the store answers nothing else than 503. */
async function awayFrom(
  stage: Stage,
  scenario: Scenario,
  programs: Programs,
  few: number,
  seed: number,
  tally: Tally,
): Promise<void> {
  const { network } = stage.archive;
  if (network === null) throw new RangeError('the store has no network');
  let requests = 0;
  const strike = async (from: number): Promise<Result> => {
    const checks = await scenario.prepare(stage, programs);
    await using proxy = await startHttpProxy(network);
    requests = 0;
    proxy.spoil(() => (++requests >= from ? { answer: 503, code: 'ServiceUnavailable' } : null));
    const ways = { archive: Number(new URL(proxy.address).port) };
    const ended = await stage.run(programs, scenario.verb, scenario.words, ways);
    const findings = [...judge(ended), ...(await look(stage, checks, ended.exit === 0 ? 'done' : 'struck'))];
    findings.push(...(await converge(stage, scenario, programs, checks)));
    return { struck: requests >= from, findings };
  };
  await strike(Number.POSITIVE_INFINITY);
  const all = Array.from({ length: requests }, (_, index) => index + 1);
  for (const from of sample(all, few, randomFrom(seed))) note(tally, `request ${from}`, await strike(from));
}

interface WrongClock {
  readonly days: number;
  /** It is right until some statement of the middle. */
  readonly jumps: boolean;
  /** The connection falls silent at that statement, which must be noticed whatever the clock says. */
  readonly stalls: boolean;
}

const clocks: readonly WrongClock[] = [1, -1, 3652, -3652].flatMap((days) => [
  { days, jumps: false, stalls: false },
  { days, jumps: true, stalls: false },
  { days, jumps: true, stalls: true },
]);

/** Nothing may hang: a process that goes on for longer is killed, and that is a finding. */
const clockMs = 60_000;

/** The goal is reached, and by the server's clock. */
async function shiftClock(
  stage: Stage,
  scenario: Scenario,
  programs: Programs,
  { days, jumps, stalls }: WrongClock,
): Promise<Result> {
  const checks = await scenario.prepare(stage, programs);
  let struck = !jumps;
  let strike = () => {};
  await using proxy = await startFaultProxy(stage.schema.server.address, { onStrike: () => strike() });
  if (jumps) proxy.strike(/^(START TRANSACTION|INSERT)/, stalls ? 'stalled' : 'noticed', { skip: 2 });
  const words = await stage.wordsFor(scenario.verb, scenario.words);
  const program = scenario.verb === 'up' ? programs.mains.migrator : programs.mains.loader;
  const child = spawn(
    process.execPath,
    ['--import', join(import.meta.dirname, 'program/shifted-clock.ts'), program, scenario.verb, ...words],
    {
      env: {
        PATH: process.env['PATH'],
        CLOCK_SHIFT_MS: String(days * 86_400_000),
        ...(jumps ? { CLOCK_JUMPS: '1' } : {}),
        ...stage.schema.environment(proxy.port),
      },
      stdio: 'ignore',
    },
  );
  strike = () => {
    struck = child.kill('SIGUSR2');
  };
  const timer = setTimeout(() => child.kill('SIGKILL'), clockMs);
  await once(child, 'exit');
  clearTimeout(timer);
  const exit = child.exitCode;
  const findings: Finding[] = [];
  if (exit !== 0 && !(stalls && exit === 1))
    findings.push(finding('refused', 'a wrong clock keeps no run from its goal', `exit ${exit}`));
  findings.push(...(await look(stage, checks, exit === 0 ? 'done' : 'struck')));
  findings.push(...(await converge(stage, scenario, programs, checks)));
  return { struck, findings };
}
