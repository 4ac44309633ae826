import * as z from 'zod/mini';
import { archiveSchemas } from './archive-schema.ts';

/** The parts of a JSON Schema that the reference reads; zod writes no others here. */
interface Schema {
  readonly type?: string | readonly string[];
  readonly description?: string;
  readonly default?: unknown;
  readonly enum?: readonly unknown[];
  readonly const?: unknown;
  readonly minimum?: number;
  readonly maximum?: number;
  readonly required?: readonly string[];
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly additionalProperties?: Schema | false;
  readonly items?: Schema;
  readonly anyOf?: readonly Schema[];
}

/** JSON Schema (2020-12) of the configuration, as editors and the chart read it. */
export function configurationJsonSchema(): Record<string, unknown> {
  const schema = z.toJSONSchema(archiveSchemas().file, { io: 'input', target: 'draft-2020-12' });
  const either = { anyOf: [{ required: ['load'] }, { required: ['archive'] }] };
  return {
    title: 'Loader configuration',
    description: 'What the verbs of `loader` read from --config.',
    ...schema,
    ...either,
  };
}

/** The tables of docs/configuration.md, in Markdown: every key with what it takes, its default and its meaning. */
export function configurationReference(): string {
  // zod gives the schema as plain JSON of the parts above.
  const sections = tables(configurationJsonSchema() as Schema, '');
  return sections
    .map(
      ({ title, rows }) =>
        `${title}\n\n| key | takes | default | meaning |\n| --- | --- | --- | --- |\n${rows.join('\n')}\n`,
    )
    .join('\n');
}

function tables(schema: Schema, path: string): { title: string; rows: string[] }[] {
  const rows: string[] = [];
  const inner: { title: string; rows: string[] }[] = [];
  for (const [key, property] of Object.entries(schema.properties ?? {})) {
    const required = schema.required?.includes(key) ?? false;
    const standard =
      property.default === undefined ? (required ? 'required' : '') : code(JSON.stringify(property.default));
    rows.push(`| \`${key}\` | ${takes(property)} | ${standard} | ${cell(property.description ?? '')} |`);
    for (const [place, section] of sectionsOf(property, path === '' ? key : `${path}.${key}`))
      inner.push(...tables(section, place));
  }
  return [{ title: path === '' ? '## Top level' : `## \`${path}\``, rows }, ...inner];
}

/** The sections inside a property, with the names they go by in headings. */
function sectionsOf(schema: Schema, path: string): [string, Schema][] {
  if (schema.properties) return [[path, schema]];
  if (schema.items) return sectionsOf(schema.items, `${path}[]`);
  if (schema.additionalProperties) return sectionsOf(schema.additionalProperties, `${path}.NAME`);
  return (schema.anyOf ?? []).flatMap((branch) => {
    const first = Object.keys(branch.properties ?? {})[0];
    const several = (schema.anyOf ?? []).filter((other) => other.properties).length > 1;
    return sectionsOf(branch, several ? `${path} with ${first}` : path);
  });
}

function takes(schema: Schema): string {
  if (schema.enum) return schema.enum.map((value) => code(String(value))).join(', ');
  if (schema.anyOf) return [...new Set(schema.anyOf.map(takes))].join(' or ');
  if (schema.items) return `list of ${takes(schema.items)}`;
  if (schema.properties) return 'section';
  if (schema.additionalProperties) return `section of NAME: ${takes(schema.additionalProperties)}`;
  if (schema.type === 'integer' || schema.type === 'number') {
    const { minimum, maximum } = schema;
    const kind = schema.type === 'integer' ? 'integer' : 'number';
    if (minimum !== undefined && maximum !== undefined && maximum < Number.MAX_SAFE_INTEGER)
      return `${kind} from ${minimum} to ${maximum}`;
    return minimum !== undefined && minimum > Number.MIN_SAFE_INTEGER ? `${kind} from ${minimum}` : kind;
  }
  if (schema.type === 'boolean') return '`true` or `false`';
  if (Array.isArray(schema.type)) return schema.type.map((type: string) => takes({ type })).join(' or ');
  if (schema.const !== undefined) return code(String(schema.const));
  return schema.type === 'string' ? 'text' : String(schema.type ?? 'anything');
}

function cell(text: string): string {
  return text.replaceAll('|', '\\|');
}

function code(text: string): string {
  return `\`${cell(text)}\``;
}
