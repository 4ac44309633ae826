import { type Chart, type ChartValue, leaves, type Schema } from './values.ts';

const globals: Schema = {
  type: 'object',
  properties: {
    imageRegistry: { type: 'string', description: 'Registry of all images, before what each names.' },
    imagePullSecrets: { type: 'array', items: { type: 'string' }, description: 'Names of Secrets to pull with.' },
  },
};

/** The chart's values.schema.json: what it does not know is refused. */
export function valuesSchema(chart: Chart): string {
  const properties: Record<string, unknown> = { ...group(chart.values)['properties'], global: globals };
  // Helm puts each dependency's values under its name, and its condition may stand there.
  for (const dependency of chart.dependencies) properties[dependency.name] = { type: 'object' };
  // A chart that uses a library often switches it by a condition of this name.
  if (chart.type === 'library') properties['enabled'] = { type: 'boolean' };
  const schema = {
    $schema: 'http://json-schema.org/draft-07/schema#',
    title: chart.name,
    type: 'object',
    additionalProperties: false,
    properties,
  };
  return `${JSON.stringify(schema, null, 2)}\n`;
}

function group(values: readonly ChartValue[]): { readonly properties: Readonly<Record<string, Schema>> } & Schema {
  const properties = Object.fromEntries(values.map((value) => [value.path.at(-1) ?? '', schemaOf(value)]));
  return { type: 'object', additionalProperties: false, properties };
}

function schemaOf(value: ChartValue): Schema {
  const description = value.meaning === '' ? {} : { description: value.meaning };
  if (value.members !== null) return { ...description, ...group(value.members) };
  const { free: _, ...schema } = value.schema;
  return { ...description, ...typeOf(value), ...schema };
}

function typeOf(value: ChartValue): Schema {
  const { default: standard } = value;
  if (Array.isArray(standard)) return { type: 'array' };
  switch (typeof standard) {
    case 'string':
      return { type: 'string' };
    case 'boolean':
      return { type: 'boolean' };
    case 'number':
      return { type: 'integer' };
    default:
      if (standard !== null) return { type: 'object' };
      if (value.schema['type'] === undefined)
        throw new Error(`${value.path.join('.')} is null and has no @schema type`);
      return {};
  }
}

const start = '<!-- Values: written by `node tools/charts.ts` from values.yaml; change them there. -->';
const end = '<!-- End of values. -->';

/** The README with the table of values between its two marks. */
export function readmeWithValues(readme: string, chart: Chart): string {
  const [before, rest] = readme.split(start);
  const after = rest?.split(end)[1];
  if (before === undefined || after === undefined)
    throw new Error(`the README of ${chart.name} lacks its marks: ${start}`);
  return `${before}${start}\n\n${valuesTable(chart)}\n${end}${after}`;
}

function valuesTable(chart: Chart): string {
  const rows = leaves(chart.values).map(
    ({ path, default: standard, meaning }) =>
      `| \`${path.join('.')}\` | \`${JSON.stringify(standard)}\` | ${meaning.replaceAll('|', '\\|')} |`,
  );
  return `| value | default | meaning |\n| --- | --- | --- |\n${rows.join('\n')}\n`;
}
