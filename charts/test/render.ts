import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { parseAllDocuments } from 'yaml';
import { findHelm } from '../../tools/programs/helm.ts';

export const chartsFolder = join(import.meta.dirname, '..');

export interface RenderOptions {
  readonly values?: Readonly<Record<string, unknown>>;
  /** The chart's name by default. */
  readonly release?: string;
  readonly namespace?: string;
  readonly kubernetesVersion?: string;
  readonly helm?: string;
}

/** One Kubernetes object as the chart renders it. */
export type Manifest = Readonly<Record<string, unknown>>;

let helm: Promise<string> | undefined;

/** What helm prints for a chart of this repository, tests included. @throws with helm's message when it refuses. */
export async function renderText(chart: string, options: RenderOptions = {}): Promise<string> {
  helm ??= findHelm();
  const release = options.release ?? (chart.split('/').at(-1) as string);
  const args = ['template', release, join(chartsFolder, chart), '--values', '-'];
  args.push('--namespace', options.namespace ?? 'shop', '--kube-version', options.kubernetesVersion ?? '1.34.0');
  // JSON, because YAML 1.1, which helm reads, takes a bare y for true.
  return await run(options.helm ?? (await helm), args, JSON.stringify(options.values ?? {}));
}

/** The objects that a chart renders. @throws with helm's message when it refuses. */
export async function render(chart: string, options: RenderOptions = {}): Promise<readonly Manifest[]> {
  return parseManifests(await renderText(chart, options));
}

export function parseManifests(yaml: string): readonly Manifest[] {
  const documents = parseAllDocuments(yaml);
  if (!Array.isArray(documents)) return [];
  const faults = documents.flatMap((document) => document.errors);
  if (faults[0] !== undefined) throw faults[0];
  // Charts render objects; anything else fails where a test looks into it.
  return documents.map((document) => document.toJS() as Manifest).filter((manifest) => manifest !== null);
}

/** helm's message on a render that it must refuse. */
export async function refusal(chart: string, values: Readonly<Record<string, unknown>>): Promise<string> {
  return await renderText(chart, { values }).then(
    () => {
      throw new Error(`helm rendered ${chart} all the same`);
    },
    (error: unknown) => (error instanceof Error ? error.message : String(error)),
  );
}

/** Runs helm with this input; helm's own words become the error. */
export async function run(program: string, args: readonly string[], input = ''): Promise<string> {
  const child = spawn(program, args, { stdio: ['pipe', 'pipe', 'pipe'] });
  child.stdin.end(input);
  // The exit code comes with the event.
  const [stdout, stderr, [code]] = await Promise.all([
    text(child.stdout),
    text(child.stderr),
    once(child, 'close') as Promise<[number | null]>,
  ]);
  if (code !== 0) throw new Error(`${program} ${args[0]} ended with ${code}: ${stderr}`);
  return stdout;
}

/** The one object of this kind, and of this name where it is given. */
export function find(manifests: readonly Manifest[], kind: string, name?: string): Manifest | undefined {
  return manifests.find(
    (manifest) => manifest['kind'] === kind && (name === undefined || valueAt(manifest, 'metadata.name') === name),
  );
}

/**
 * What stands at a path such as `spec.containers[app].env[DB_HOST].value`: items of a list go by `name` (volume mounts by
 * `mountPath` too) or by number; a key with dots stands in brackets.
 */
export function valueAt(value: unknown, path: string): unknown {
  let current = value;
  for (const [, key, bracket] of path.matchAll(/([^.[\]]+)|\[([^\]]*)\]/g)) {
    const step = key ?? bracket ?? '';
    if (Array.isArray(current)) {
      current =
        current.find((item: unknown) => isRecord(item) && (item['name'] === step || item['mountPath'] === step)) ??
        current[Number(step)];
    } else {
      current = isRecord(current) ? current[step] : undefined;
    }
  }
  return current;
}

export function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** Values with one of them set: `at` is its path with dots. */
export function withValue(
  values: Readonly<Record<string, unknown>>,
  at: string,
  value: unknown,
): Readonly<Record<string, unknown>> {
  const [first, ...rest] = at.split('.');
  if (first === undefined) return values;
  const inner = values[first];
  return {
    ...values,
    [first]: rest.length === 0 ? value : withValue(isRecord(inner) ? inner : {}, rest.join('.'), value),
  };
}
