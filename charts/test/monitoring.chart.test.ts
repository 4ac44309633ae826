import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { stringify } from 'yaml';
import { findProgram } from '../../tools/programs/debian-program.ts';
import { orSkip } from './or-skip.ts';
import { find, isRecord, render, run, valueAt } from './render.ts';

async function rules(): Promise<unknown> {
  const cronjob = { enabled: true };
  const values = { prometheusRule: cronjob, archive: { cronjob }, purge: { cronjob } };
  return valueAt(find(await render('database-load', { values }), 'PrometheusRule'), 'spec');
}

test('every alert fires when it should and is silent when it should be', async (context) => {
  const promtool = await orSkip(context, () => findProgram('promtool', 'prometheus'));
  const folder = await mkdtemp(join(tmpdir(), 'tableset-rules-'));
  try {
    await writeFile(join(folder, 'rules.yaml'), stringify(await rules()));
    const cases = await readFile(join(import.meta.dirname, 'alerts.yaml'), 'utf8');
    await writeFile(join(folder, 'cases.yaml'), cases);
    await run(promtool, ['check', 'rules', join(folder, 'rules.yaml')]);
    await run(promtool, ['test', 'rules', join(folder, 'cases.yaml')]);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
});

test('every alert has a case that fires it', async () => {
  const cases = await readFile(join(import.meta.dirname, 'alerts.yaml'), 'utf8');
  const names = [...JSON.stringify(await rules()).matchAll(/"alert":"(\w+)"/g)].map(([, name]) => name ?? '');
  expect(names).toHaveLength(16);
  for (const name of names) expect(cases).toMatch(new RegExp(`alertname: ${name}\\n +exp_alerts:\\n +- exp_labels`));
});

test('there are no alerts for CronJobs that there are not', async () => {
  const values = { prometheusRule: { enabled: true } };
  const rule = find(await render('database-load', { values }), 'PrometheusRule');
  expect(valueAt(rule, 'spec.groups[0].rules')).toHaveLength(6);
  expect(JSON.stringify(rule)).not.toMatch(/Database(Archive|Purge)/);
});

/** The dashboard of a release whose CronJobs are these, with its panels. */
async function dashboardOf(more: Readonly<Record<string, unknown>>) {
  const values = { grafanaDashboard: { enabled: true }, ...more };
  const data = valueAt(find(await render('database-load', { values }), 'ConfigMap'), 'data[database-load.json]');
  const dashboard: unknown = JSON.parse(String(data));
  const panels = valueAt(dashboard, 'panels');
  if (!Array.isArray(panels)) throw new Error('the dashboard has no panels');
  return { dashboard, panels: panels as readonly unknown[] };
}

test('the dashboard shows archive and purge where there are such CronJobs, and never as loads', async () => {
  const both = { archive: { cronjob: { enabled: true } }, purge: { cronjob: { enabled: true } } };
  const [without, within] = [await dashboardOf({}), await dashboardOf(both)];
  const ofArchive = ({ panels }: { readonly panels: readonly unknown[] }) =>
    panels.filter((panel) => /: archive and purge|their pods/.test(String(valueAt(panel, 'title'))));
  expect(ofArchive(without)).toHaveLength(0);
  expect(ofArchive(within)).toHaveLength(5);
  for (const panel of ofArchive(within))
    expect(JSON.stringify(panel)).toMatch(/database-load-archive\|database-load-purge/);
  const loads = within.panels.filter((panel) => JSON.stringify(panel).includes('job_name=~\\"database-load-.+'));
  expect(loads).toHaveLength(2);
  for (const panel of loads)
    expect(JSON.stringify(panel)).toContain('job_name!~\\"(database-load-archive|database-load-purge)-.+');
  expect(JSON.stringify(within.dashboard)).not.toMatch(/CRONJOB|NAMESPACE|-NAME/);
});

test('the dashboard is JSON whose queries name the release and parse', async (context) => {
  const { dashboard, panels } = await dashboardOf({ archive: { cronjob: { enabled: true } } });
  expect(valueAt(dashboard, 'title')).toBe('Tableset: database-load (shop)');
  const queries = panels.flatMap((panel: unknown) => valueAt(panel, 'targets')).filter(isRecord);
  expect(queries.length).toBeGreaterThan(5);
  const ids = new Set(panels.map((panel: unknown) => valueAt(panel, 'id')));
  expect(ids.size).toBe(panels.length);
  const promtool = await orSkip(context, () => findProgram('promtool', 'prometheus'));
  const folder = await mkdtemp(join(tmpdir(), 'tableset-dashboard-'));
  try {
    const recorded = queries.map((query, index) => ({ record: `query:${index}`, expr: query['expr'] }));
    await writeFile(join(folder, 'queries.yaml'), stringify({ groups: [{ name: 'queries', rules: recorded }] }));
    await run(promtool, ['check', 'rules', join(folder, 'queries.yaml')]);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
  for (const query of queries) expect(query['expr']).toContain('namespace="shop"');
});
