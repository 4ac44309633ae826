import { execFileSync } from 'node:child_process';
import { mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { describe, expect, test } from 'vitest';
import { loaderVerbs } from '../../loader/src/verbs/index.ts';
import { migratorVerbs } from '../../migrator/src/verbs/index.ts';
import { describeEachServer } from '../servers.ts';
import { buildImage, docker, environmentOptions, imageNames, runImage, testTag } from './docker.ts';

const example = join(import.meta.dirname, '..', '..', 'examples', 'order-food');
const migration = `database-migration:${testTag}`;
const load = `database-load:${testTag}`;
const baseImage = 'gcr.io/distroless/nodejs24-debian13:nonroot';
const layerBytesMax = 3_000_000;

async function inTemporaryFolder<Result>(work: (folder: string) => Promise<Result>): Promise<Result> {
  const folder = await mkdtemp(join(tmpdir(), 'tableset-images-'));
  try {
    return await work(folder);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

describe.each(imageNames)('the image %s', (name) => {
  const image = `${name}:${testTag}`;

  test('runs as a user that is not root, by number, and says what it is', async () => {
    const [facts] = JSON.parse(await docker('image', 'inspect', image));
    expect(facts.Config.User).toBe('65532:65532');
    expect(facts.Config.Labels).toMatchObject({
      'org.opencontainers.image.title': name,
      'org.opencontainers.image.licenses': 'MIT',
      'org.opencontainers.image.version': expect.stringMatching(/^\d+\.\d+\.\d+$/),
    });
  });

  test('has no shell and no package manager', () => {
    for (const program of ['/bin/sh', '/bin/bash', '/usr/bin/npm', '/usr/local/bin/npm', '/usr/bin/apt-get']) {
      expect(runImage(image, ['--entrypoint', program], []).code, program).toBe(127);
    }
  });

  test('adds at most 3 MB, compressed, to the image that it is based on, and no source map', async () => {
    await inTemporaryFolder(async (folder) => {
      const container = (await docker('create', image)).trim();
      try {
        await docker('cp', `${container}:/app`, join(folder, 'app'));
      } finally {
        await docker('rm', container);
      }
      await docker('save', '--output', join(folder, 'image.tar'), image);
      const [facts] = JSON.parse(await docker('image', 'inspect', baseImage));
      const ours = (await layerSizes(join(folder, 'image.tar'), folder)).slice(facts.RootFS.Layers.length);
      expect(ours.length).toBeGreaterThan(0);
      expect(ours.reduce((sum, bytes) => sum + bytes, 0)).toBeLessThan(layerBytesMax);
      expect((await stat(join(folder, 'app', 'main.mjs'))).isFile()).toBe(true);
      expect((await readdir(join(folder, 'app'))).filter((file) => !file.endsWith('.mjs'))).toEqual([]);
    });
  });
});

/** Compressed bytes of each layer of a saved image, the oldest first. */
async function layerSizes(archive: string, folder: string): Promise<readonly number[]> {
  await mkdir(join(folder, 'image'));
  execFileSync('tar', ['-xf', archive, '-C', join(folder, 'image')]);
  const [manifest] = JSON.parse(await readFile(join(folder, 'image', 'manifest.json'), 'utf8'));
  return await Promise.all(
    manifest.Layers.map(
      async (layer: string) => gzipSync(await readFile(join(folder, 'image', layer)), { level: 6 }).length,
    ),
  );
}

describe('every verb explains itself in its image', () => {
  test.each(migratorVerbs.map(({ name }) => name))('migrator %s --help', (verb) => {
    const { code, stdout } = runImage(migration, [], [verb, '--help']);
    expect(code).toBe(0);
    expect(stdout).toContain(`migrator ${verb}`);
  });
  test.each(loaderVerbs.map(({ name }) => name))('loader %s --help', (verb) => {
    const { code, stdout } = runImage(load, [], [verb, '--help']);
    expect(code).toBe(0);
    expect(stdout).toContain(`loader ${verb}`);
  });
});

test.each(['database-migration', 'database-load'] as const)(
  '%s comes with source maps and a bill of materials',
  async (name) => {
    const outputs = await buildImage(name, 'outputs');
    await inTemporaryFolder(async (folder) => {
      const container = (await docker('create', outputs, 'none')).trim();
      try {
        await docker('cp', `${container}:/`, join(folder, 'outputs'));
      } finally {
        await docker('rm', container);
        await docker('image', 'rm', outputs);
      }
      const map = JSON.parse(await readFile(join(folder, 'outputs', 'source-maps', 'main.mjs.map'), 'utf8'));
      expect(map.sources.some((source: string) => source.endsWith('/src/main.ts'))).toBe(true);
      const bill = JSON.parse(await readFile(join(folder, 'outputs', 'sbom.cdx.json'), 'utf8'));
      const names = bill.components.map((component: { readonly name: string }) => component.name);
      expect(names).toContain('mysql2');
      expect(names).not.toContain('vitest');
    });
  },
);

describeEachServer('the images', (server) => {
  test('migrate and load the example shop out of mounted volumes, and do nothing the second time', async () => {
    const schema = await server.createSchema();
    await inTemporaryFolder(async (folder) => {
      await writeFile(join(folder, 'password'), schema.password, { mode: 0o444 });
      const { DB_PASSWORD: _, ...environment } = schema.environment;
      const options = [
        ...environmentOptions({ ...environment, DB_PASSWORD_FILE: '/secrets/password' }),
        // As OpenShift does it: any user, in the root group.
        ...['--user', '1000650000:0'],
        ...['--volume', `${join(folder, 'password')}:/secrets/password:ro`],
        ...['--volume', `${join(example, 'migrations')}:/migrations:ro`],
        ...['--volume', `${example}:/config:ro`],
      ];
      for (const [applied, inserted] of [
        [7, true],
        [0, false],
      ] as const) {
        const up = runImage(migration, options, ['up', '--json']);
        expect(up.code, up.stderr).toBe(0);
        expect(JSON.parse(up.stdout).applied).toHaveLength(applied);
        const loaded = runImage(load, options, ['load', '--json']);
        expect(loaded.code, loaded.stderr).toBe(0);
        const tables: { readonly inserted: number }[] = JSON.parse(loaded.stdout).tables;
        expect(tables.some((table) => table.inserted > 0)).toBe(inserted);
      }
    });
    expect(await schema.query('SELECT COUNT(*) AS n FROM order_items')).not.toEqual([{ n: 0 }]);
  });

  test('take their content out of derived images', async () => {
    const schema = await server.createSchema();
    const derived = [`derived-migration:${testTag}`, `derived-load:${testTag}`] as const;
    await inTemporaryFolder(async (folder) => {
      await writeFile(join(folder, 'migration'), `FROM ${migration}\nCOPY migrations /migrations\n`);
      await writeFile(join(folder, 'load'), `FROM ${load}\nCOPY config.yaml /config/\nCOPY data /config/data/\n`);
      try {
        await docker('build', '--quiet', '--tag', derived[0], '--file', join(folder, 'migration'), example);
        await docker('build', '--quiet', '--tag', derived[1], '--file', join(folder, 'load'), example);
        for (const image of derived) {
          const { code, stderr } = runImage(
            image,
            environmentOptions(schema.environment),
            image === derived[1] ? ['load'] : [],
          );
          expect(code, stderr).toBe(0);
        }
      } finally {
        await docker('image', 'rm', '--force', ...derived);
      }
    });
    expect(await schema.query('SELECT COUNT(*) AS n FROM cities')).not.toEqual([{ n: 0 }]);
  });

  test('a fault ends with its exit code and says so in the last line', async () => {
    const schema = await server.createSchema();
    const options = environmentOptions(schema.environment);
    const { code, stdout } = runImage(load, options, ['load']);
    expect(code).toBe(2);
    const last = JSON.parse(stdout.trim().split('\n').at(-1) ?? '');
    expect(last.error).toMatchObject({ code: 'CONFIG_UNREADABLE' });
  });
});
