import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';
import { parse } from 'yaml';
import { leaves, readChart } from '../../tools/charts/values.ts';
import { findProgram } from '../../tools/programs/debian-program.ts';
import { findHelm } from '../../tools/programs/helm.ts';
import { orSkip } from './or-skip.ts';
import { isRecord, parseManifests, run, valueAt } from './render.ts';

const root = join(import.meta.dirname, '..', '..');

test("a release's charts have its version, and name its images in its registry", async () => {
  const helm = await findHelm();
  const folder = await mkdtemp(join(tmpdir(), 'tableset-release-'));
  try {
    const env = { ...process.env, PATH: `${dirname(helm)}:${process.env['PATH']}` };
    const script = join(root, 'tools', 'package-charts.sh');
    await promisify(execFile)(script, ['1.2.3', 'ghcr.io/x', folder], { env });
    for (const [chart, images] of [
      ['database-load', ['database-load']],
      ['order-food', ['database-load', 'database-migration', 'order-food']],
    ] as const) {
      const text = await run(helm, ['template', chart, join(folder, `${chart}-1.2.3.tgz`), '--kube-version', '1.34.0']);
      const named = new Set([...text.matchAll(/image: "?([^"\n]+)/g)].map(([, image]) => image));
      expect([...named].toSorted()).toEqual(images.map((image) => `ghcr.io/x/${image}:1.2.3`));
      const [first] = parseManifests(text);
      expect(valueAt(first, 'metadata.labels[helm.sh/chart]')).toBe(`${chart}-1.2.3`);
    }
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
});

test('skaffold names charts, values and Dockerfiles that are there', async () => {
  const config: unknown = parse(await readFile(join(root, 'skaffold.yaml'), 'utf8'));
  const artifacts = valueAt(config, 'build.artifacts');
  const releases = valueAt(config, 'deploy.helm.releases');
  if (!Array.isArray(artifacts) || !Array.isArray(releases)) throw new Error('skaffold.yaml builds or deploys nothing');
  for (const artifact of artifacts) await readFile(join(root, String(valueAt(artifact, 'docker.dockerfile'))));
  const variables = artifacts.map((artifact: unknown) => String(valueAt(artifact, 'image')).replaceAll('-', '_'));
  for (const release of releases) {
    const chart = await readChart(join(root, String(valueAt(release, 'chartPath'))));
    const known = leaves(chart.values).map((value) => value.path.join('.'));
    const templates = valueAt(release, 'setValueTemplates');
    for (const [path, template] of Object.entries(isRecord(templates) ? templates : {})) {
      expect(known).toContain(path);
      expect(variables).toContain(/^\{\{\.IMAGE_(?:REPO|TAG)_(\w+)\}\}$/.exec(String(template))?.[1]);
    }
  }
});

test('shellcheck has nothing to say about packaging', async (context) => {
  const shellcheck = await orSkip(context, () => findProgram('shellcheck', 'shellcheck'));
  expect(await run(shellcheck, [join(root, 'tools', 'package-charts.sh')])).toBe('');
});
