import { type HttpProxy, type Spoil, startHttpProxy } from '../loader/test/stores/http-proxy.ts';
import { type Fault, type FaultProxy, type FaultProxyOptions, startFaultProxy } from '../test/fault-proxy.ts';
import type { Archive } from './archives.ts';
import { type Finding, finding } from './findings.ts';
import type { Programs } from './program/build.ts';
import type { VerbRun } from './program/run-verb.ts';
import { type Checks, checkSummary, type Scenario } from './scenarios.ts';
import type { Stage, Ways } from './stage.ts';

/** Where and how one run is cut. */
export interface Point {
  readonly way: 'primary' | 'archive';
  /** The packet or request, from 1. */
  readonly k: number;
  readonly fault: string;
}

export interface PointResult {
  readonly point: string;
  /** The fault happened: a run is not the same to the packet each time, so the last ones may not come. */
  readonly struck: boolean;
  readonly findings: readonly Finding[];
}

const packetFaults = ['lost', 'unanswered', 'half', 'half-answered', 'stalled'] as const satisfies readonly Fault[];

const requestFaults: Readonly<Record<string, Spoil>> = {
  unavailable: { answer: 503, code: 'SlowDown' },
  unanswered: { lose: true },
  'half-answered': { cutAfter: 7 },
  stalled: { stallAfter: null },
};

/** Characters of a statement that tell which one it is. */
const statementMax = 80;

/** A stall costs a deadline each: every so many packets are enough. */
const stallEvery = 6;

/** Counts what a run without faults sends, checks that it reaches its goal, and returns every point where it can be cut. */
export async function findPoints(stage: Stage, scenario: Scenario, programs: Programs): Promise<readonly Point[]> {
  const checks = await scenario.prepare(stage, programs);
  const counts = { primary: 0, archive: 0 };
  {
    await using ways = await openWays(stage, null);
    const { exit, code, message } = await stage.run(programs, scenario.verb, scenario.words, ways.ways);
    if (exit !== 0) throw new Error(`${scenario.name} without faults ended with ${exit} ${code}: ${message}`);
    counts.primary = ways.primary.packets;
    counts.archive = ways.archive?.count() ?? 0;
  }
  const findings = await checks('done');
  if (findings.length > 0) throw new Error(`${scenario.name} without faults: ${JSON.stringify(findings)}`);
  const points: Point[] = [];
  for (const way of ['primary', 'archive'] as const) {
    const faults =
      way === 'archive' && stage.archive.network?.kind === 'http' ? Object.keys(requestFaults) : packetFaults;
    for (let k = 1; k <= counts[way]; k++)
      for (const fault of faults) if (fault !== 'stalled' || k % stallEvery === 0) points.push({ way, k, fault });
  }
  return points;
}

export function pointLabel({ way, k, fault }: Point): string {
  return `${way} ${k} ${fault}`;
}

/** Cuts one run, runs it again without faults, and checks after both. */
export async function strike(stage: Stage, scenario: Scenario, programs: Programs, point: Point): Promise<PointResult> {
  const checks = await scenario.prepare(stage, programs);
  let struck = false;
  let statement: string | null = null;
  let run: VerbRun;
  {
    await using ways = await openWays(stage, point);
    run = await stage.run(programs, scenario.verb, scenario.words, ways.ways);
    struck = ways.struck();
    statement = ways.statement();
  }
  const findings = [...judge(run), ...(await look(stage, checks, run.exit === 0 ? 'done' : 'struck'))];
  if (scenario.name === 'archive') findings.push(...(await checkSummary(stage, run.summary)));
  return {
    point: `${pointLabel(point)} (${statement?.slice(0, statementMax) ?? 'no statement'})`,
    struck,
    findings: [...findings, ...(await converge(stage, scenario, programs, checks))],
  };
}

/** One run without faults brings it to its end, and another one changes nothing. */
export async function converge(
  stage: Stage,
  scenario: Scenario,
  programs: Programs,
  checks: Checks,
): Promise<readonly Finding[]> {
  const findings: Finding[] = [];
  for (const check of ['one run without faults converges', 'a further run finds nothing to do']) {
    const run = await stage.run(programs, scenario.verb, scenario.words);
    if (run.exit !== 0) findings.push(finding('refused', check, `exit ${run.exit} ${run.code}: ${run.message}`));
    findings.push(...(await look(stage, checks, 'done')));
    if (findings.length > 0) break;
  }
  return findings;
}

/** A run that is cut ends with success or with a passing fault. */
export function judge({ exit, code, message, events }: VerbRun): readonly Finding[] {
  if (exit === 0 || (exit === 1 && code !== 'INTERNAL')) return [];
  const detail = `exit ${exit} ${code}: ${message} ${events.slice(-3).join(' ')}`;
  return [finding('refused', 'a fault of the network passes', detail)];
}

/** Once nobody is there any more who could still change something. */
export async function look(stage: Stage, checks: Checks, when: 'struck' | 'done'): Promise<readonly Finding[]> {
  const lingering = await stage.lingering();
  const findings = await checks(when);
  if (lingering.length === 0) return findings;
  return [...findings, finding('untidy', 'no session, and with it no lock, is left', lingering)];
}

export interface OpenWays extends AsyncDisposable {
  readonly ways: Ways;
  readonly primary: FaultProxy;
  readonly archive: { readonly port: number; count(): number; struck(): boolean } | null;
  struck(): boolean;
  /** The statement that was struck, if it was one. */
  statement(): string | null;
}

/** Proxies before everything that the programs reach over a network, one of which strikes. Closing them ends all that a run left open, as its process's end would. */
export async function openWays({ schema, archive }: Stage, point: Point | null): Promise<OpenWays> {
  await using stack = new AsyncDisposableStack();
  let statement: string | null = null;
  const watch = (way: Point['way']): FaultProxyOptions => ({
    countLogins: true,
    onPacket: (k, text) => {
      if (point?.way === way && point.k === k) statement = text;
    },
  });
  const primary = stack.use(await startFaultProxy(schema.server.address, watch('primary')));
  if (point?.way === 'primary') primary.strikePacket(point.k, faultOf(point));
  const second = archive.network && stack.use(await openArchiveWay(archive.network, point, watch('archive')));
  const held = stack.move();
  return {
    ways: { primary: primary.port, ...(second ? { archive: second.port } : {}) },
    primary,
    archive: second,
    struck: () => primary.struck > 0 || (second?.struck() ?? false),
    statement: () => statement,
    [Symbol.asyncDispose]: () => held.disposeAsync(),
  };
}

async function openArchiveWay(
  network: NonNullable<Archive['network']>,
  point: Point | null,
  options: FaultProxyOptions,
) {
  const here = point?.way === 'archive' ? point : null;
  if (network.kind === 'mysql') {
    const proxy = await startFaultProxy(network, options);
    if (here) proxy.strikePacket(here.k, faultOf(here));
    return {
      port: proxy.port,
      count: () => proxy.packets,
      struck: () => proxy.struck > 0,
      [Symbol.asyncDispose]: () => proxy[Symbol.asyncDispose](),
    };
  }
  const proxy: HttpProxy = await startHttpProxy(network);
  let [count, struck] = [0, false];
  proxy.spoil(() => {
    count++;
    if (count !== here?.k) return null;
    struck = true;
    return requestFaults[here.fault] ?? null;
  });
  return {
    port: Number(new URL(proxy.address).port),
    count: () => count,
    struck: () => struck,
    [Symbol.asyncDispose]: () => proxy[Symbol.asyncDispose](),
  };
}

function faultOf({ fault }: Point): Fault {
  const found = packetFaults.find((name) => name === fault);
  if (found === undefined) throw new RangeError(`${fault} happens to no packet`);
  return found;
}
