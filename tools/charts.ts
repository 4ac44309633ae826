/**
 * Writes what comes from the charts' values.yaml: values.schema.json, and the table of values in README.md. `--check` writes
 * nothing and fails where a file differs, or where a value has no comment.
 */
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { readmeWithValues, valuesSchema } from './charts/documents.ts';
import { leaves, readChart } from './charts/values.ts';

const charts = join(import.meta.dirname, '..', 'charts');
const check = process.argv.includes('--check');
const faults: string[] = [];

for (const name of ['database-init', 'database-load', 'order-food', 'demo-mysql']) {
  const folder = join(charts, name);
  const chart = await readChart(folder);
  for (const value of leaves(chart.values)) {
    if (value.meaning === '') faults.push(`charts/${name}/values.yaml: ${value.path.join('.')} has no comment`);
  }
  const readme = await readFile(join(folder, 'README.md'), 'utf8');
  const documents = {
    'values.schema.json': valuesSchema(chart),
    'README.md': readmeWithValues(readme, chart),
  };
  for (const [file, text] of Object.entries(documents)) {
    const current = await readFile(join(folder, file), 'utf8').catch(() => null);
    if (current === text) continue;
    if (check) {
      faults.push(`charts/${name}/${file} is not what values.yaml says; run \`node tools/charts.ts\``);
    } else {
      await writeFile(join(folder, file), text);
      console.log(`wrote charts/${name}/${file}`);
    }
  }
}
for (const fault of faults) console.error(fault);
if (faults.length > 0) process.exitCode = 1;
