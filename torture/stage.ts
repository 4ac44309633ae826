import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { S3Server } from '../loader/test/stores/s3-server.ts';
import { type Archive, openArchive, type StoreName } from './archives.ts';
import type { Programs } from './program/build.ts';
import { runVerb, type VerbName, type VerbRun } from './program/run-verb.ts';
import { Schema, type Server } from './schema.ts';
import { batchRows } from './shop.ts';

export interface Backends {
  readonly servers: readonly Server[];
  readonly s3: S3Server | null;
}

/** How the programs reach what they work on, where a proxy stands before it. */
export interface Ways {
  readonly primary?: number;
  readonly archive?: number;
}

/** A schema, a store and a folder of their own, which points are run on one after the other. */
export interface Stage extends AsyncDisposable {
  readonly schema: Schema;
  readonly archive: Archive;
  readonly folder: string;
  /** Writes the configuration for these ways, and returns the words that name it. */
  configure(ways: Ways): Promise<readonly string[]>;
  /** All words of a verb but its name. */
  wordsFor(verb: VerbName, words: readonly string[], ways?: Ways): Promise<readonly string[]>;
  run(programs: Programs, verb: VerbName, words: readonly string[], ways?: Ways): Promise<VerbRun>;
  /** After a server has been away. */
  reconnect(): Promise<void>;
  /** Whoever still has a session on one of the servers. */
  lingering(): Promise<readonly string[]>;
}

export async function openStage({ servers, s3 }: Backends, server: Server, store: StoreName): Promise<Stage> {
  await using stack = new AsyncDisposableStack();
  const folder = await mkdtemp(join(tmpdir(), 'torture-'));
  stack.defer(() => rm(folder, { recursive: true, force: true }));
  const schema = stack.use(await Schema.create(server));
  const other = servers.find(({ flavour }) => flavour !== server.flavour) ?? server;
  const archive = stack.use(await openArchive(store, schema, { other, s3, folder }));
  const held = stack.move();
  await mkdir(join(folder, 'migrations'));
  const stage: Stage = {
    schema,
    archive,
    folder,
    async configure(ways) {
      // JSON is YAML. One file for each way, since runs through different ones may overlap.
      const path = join(folder, `config-${ways.archive ?? 'direct'}.yaml`);
      await writeFile(path, JSON.stringify(configuration(archive.settings(ways.archive))));
      return ['--config', path];
    },
    async wordsFor(verb, words, ways = {}) {
      const given = verb === 'up' ? ['--migrations-dir', join(folder, 'migrations')] : await stage.configure(ways);
      return [...given, ...(words.includes('--on-busy') ? [] : patiently), ...words];
    },
    async run(programs, verb, words, ways = {}) {
      return await runVerb(programs, verb, await stage.wordsFor(verb, words, ways), schema.environment(ways.primary));
    },
    async reconnect() {
      await schema.reconnect();
      await archive.reconnect();
    },
    async lingering() {
      return [...(await schema.lingering()), ...(await archive.lingering())];
    },
    [Symbol.asyncDispose]: () => held.disposeAsync(),
  };
  return stage;
}

/** The session of a run that was cut may hold the lock a moment longer. */
const patiently = ['--on-busy', 'wait', '--lock-wait-seconds', '30'];

function configuration(store: object): object {
  return {
    stores: { cold: store },
    archive: [
      {
        table: 'orders',
        dateColumn: 'created_at',
        archiveAfterDays: 30,
        deleteAfterDays: 400,
        store: 'cold',
        children: ['items'],
      },
    ],
    limits: { batchRows, targetBatchSeconds: 60 },
    load: [{ table: 'products', source: 'products.csv', mode: 'mirror', maxDeletes: { rows: 100 } }],
  };
}
