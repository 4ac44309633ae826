import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { isMap, isScalar, type Node, type Pair, parse, parseDocument, type YAMLMap } from 'yaml';

/** A draft-07 JSON Schema, as far as charts need it. */
export type Schema = Readonly<Record<string, unknown>>;

/** One value of a chart, or a group of them. */
export interface ChartValue {
  readonly path: readonly string[];
  /** The comment above it; empty for groups that need none. */
  readonly meaning: string;
  readonly default: unknown;
  /** What stands after `@schema` in the comment. */
  readonly schema: Schema;
  /** Set for a group whose members are values of their own. */
  readonly members: readonly ChartValue[] | null;
}

interface Dependency {
  readonly name: string;
  readonly repository: string;
  readonly 'import-values'?: readonly (string | { readonly child: string; readonly parent: string })[];
}

export interface Chart {
  readonly name: string;
  readonly description: string;
  readonly type: string;
  readonly dependencies: readonly Dependency[];
  /** Its own values and those that it imports, its own first where both have one. */
  readonly values: readonly ChartValue[];
}

/** Reads a chart's metadata and its values with their comments, those imported from `file://` dependencies included. */
export async function readChart(folder: string): Promise<Chart> {
  // Our own files; a field that is missing shows in the first render.
  const meta = parse(await readFile(join(folder, 'Chart.yaml'), 'utf8')) as Omit<Chart, 'values'> & Partial<Chart>;
  const dependencies = meta.dependencies ?? [];
  let values = await readValues(join(folder, 'values.yaml'));
  for (const dependency of dependencies) {
    const theirs = await readValues(join(folder, dependency.repository.replace('file://', ''), 'values.yaml'));
    for (const entry of dependency['import-values'] ?? []) {
      const child = typeof entry === 'string' ? `exports.${entry}` : entry.child;
      const parent = typeof entry === 'string' || entry.parent === '.' ? [] : entry.parent.split('.');
      values = merged(
        values,
        wrapped(parent, rebased(membersAt(theirs, child.split('.')), child.split('.').length, parent)),
      );
    }
  }
  return { ...meta, name: meta.name, dependencies, values };
}

/** Every value that is no group, in the order of the file. */
export function leaves(values: readonly ChartValue[]): readonly ChartValue[] {
  return values.flatMap((value) => (value.members === null ? [value] : leaves(value.members)));
}

async function readValues(path: string): Promise<readonly ChartValue[]> {
  const document = parseDocument(await readFile(path, 'utf8'));
  if (!isMap(document.contents)) throw new Error(`${path} holds no map`);
  return valuesOf(document.contents, []);
}

function valuesOf(map: YAMLMap, path: readonly string[]): readonly ChartValue[] {
  return map.items.map((pair, index) => chartValue(pair, index === 0 ? (map.commentBefore ?? '') : '', path));
}

function chartValue(pair: Pair, commentOfMap: string, parent: readonly string[]): ChartValue {
  if (!isScalar(pair.key)) throw new Error(`a key under ${parent.join('.')} is no text`);
  const path = [...parent, String(pair.key.value)];
  // A paragraph before it is about the file.
  const comment = (pair.key.commentBefore || commentOfMap).split(/\n\s*\n/).at(-1) ?? '';
  const lines = comment.split('\n').map((line) => line.trim());
  const schemaLine = lines.find((line) => line.startsWith('@schema '));
  // A fault in the comment's JSON shows here, and what it says is checked when helm reads the schema.
  const schema = schemaLine === undefined ? {} : (JSON.parse(schemaLine.slice('@schema '.length)) as Schema);
  const meaning = lines.filter((line) => line !== '' && line !== schemaLine).join(' ');
  // Pairs of a parsed document hold nodes.
  const node = pair.value as Node;
  const group =
    isMap(node) && node.items.length > 0 && schema['free'] !== true && schema['additionalProperties'] === undefined;
  return {
    path,
    meaning,
    schema,
    default: node.toJSON(),
    members: group ? valuesOf(node, path) : null,
  };
}

function membersAt(values: readonly ChartValue[], path: readonly string[]): readonly ChartValue[] {
  const [first, ...rest] = path;
  if (first === undefined) return values;
  const found = values.find((value) => value.path.at(-1) === first);
  if (found?.members == null) throw new Error(`there is nothing to import under ${path.join('.')}`);
  return membersAt(found.members, rest);
}

function rebased(values: readonly ChartValue[], drop: number, parent: readonly string[]): readonly ChartValue[] {
  return values.map((value) => ({
    ...value,
    path: [...parent, ...value.path.slice(drop)],
    members: value.members === null ? null : rebased(value.members, drop, parent),
  }));
}

function wrapped(parent: readonly string[], values: readonly ChartValue[]): readonly ChartValue[] {
  return parent.reduceRight<readonly ChartValue[]>(
    (members, _, index) => [{ path: parent.slice(0, index + 1), meaning: '', default: {}, schema: {}, members }],
    values,
  );
}

/** Both trees in one; where both have a value, the first's default counts. */
function merged(own: readonly ChartValue[], imported: readonly ChartValue[]): readonly ChartValue[] {
  const theirs = new Map(imported.map((value) => [value.path.join('.'), value]));
  const result = own.map((value) => {
    const other = theirs.get(value.path.join('.'));
    theirs.delete(value.path.join('.'));
    if (!other || value.members === null || other.members === null) return value;
    return { ...value, meaning: value.meaning || other.meaning, members: merged(value.members, other.members) };
  });
  return [...result, ...theirs.values()];
}
