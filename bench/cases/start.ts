import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { makeSource, tableSql } from '../data.ts';
import type { BenchOptions } from '../options.ts';
import { golangMigrate } from '../peers/golang-migrate.ts';
import { timed } from '../process.ts';
import { bundle, databaseEnv, node } from '../programs.ts';
import { compare, Measurements, type ReportRow } from '../report.ts';
import type { BenchServer } from '../servers.ts';

const migrationCount = 200;
const smallRows = 1000;
const knexScript = new URL('../peers/knex-latest.mjs', import.meta.url).pathname;

interface Program {
  readonly name: string;
  readonly command: string;
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  /** Throws unless the output is that of a run with nothing to do. */
  readonly check: (stdout: string) => void;
}

/** Times whole processes that have nothing to do: what every start of a pod pays. */
export async function benchStart(
  servers: readonly BenchServer[],
  options: BenchOptions,
): Promise<readonly ReportRow[]> {
  const folder = await mkdtemp(join(tmpdir(), 'tableset-bench-'));
  try {
    const prepared: { server: BenchServer; programs: readonly Program[]; measurements: Measurements }[] = [];
    for (const server of servers) {
      const programs = await prepare(server, join(folder, server.flavour));
      prepared.push({ server, programs, measurements: new Measurements() });
    }
    for (let round = 0; round < options.startRuns; round++) {
      for (const { programs, measurements } of prepared) {
        for (const { name, command, args, env, check } of programs) {
          const { seconds, stdout } = await timed(command, args, env, folder);
          check(stdout);
          measurements.add(name, seconds);
        }
      }
    }
    return prepared.flatMap(({ server, measurements }) => report(server, measurements));
  } finally {
    await rm(folder, { recursive: true });
  }
}

/** Applies everything once, so that there is nothing left to do. */
async function prepare(server: BenchServer, folder: string): Promise<readonly Program[]> {
  const migrations = await writeMigrations(folder);
  const nothing = () => {};
  const programs: Program[] = [{ name: 'node', command: node, args: ['-e', '0'], env: {}, check: nothing }];
  await server.ask('DROP TABLE IF EXISTS products', tableSql);
  const config = join(folder, 'config.yaml');
  await writeFile(config, `load:\n  - table: products\n    source: ${await makeSource(smallRows, 'first')}\n`);
  const load: Program = {
    name: 'load',
    command: node,
    args: [bundle('loader'), 'load', '--if-changed', '--json', '--config', config],
    env: databaseEnv(server),
    check: (stdout) => expectSummary(stdout, (summary) => summary.tables?.[0]?.read === 0),
  };
  const migrator = await migrationProgram(server, 'bench_ours', 'migrate', {
    command: node,
    args: [bundle('migrator'), 'up', '--json'],
    env: { MIGRATIONS_DIR: migrations.plain },
    check: (stdout) => expectSummary(stdout, (summary) => summary.applied?.length === 0),
  });
  const knex = await migrationProgram(server, 'bench_knex', 'knex', {
    command: node,
    args: [knexScript],
    env: { MIGRATIONS_DIR: migrations.knex },
    check: nothing,
  });
  programs.push(load, migrator, knex);
  const golang = await golangMigrate();
  if (golang !== null) {
    const address = `mysql://root:${server.password}@tcp(${server.host}:${server.port})/bench_golang`;
    const args = ['-path', migrations.golang, '-database', address, 'up'];
    programs.push(
      await migrationProgram(server, 'bench_golang', 'golang', { command: golang, args, env: {}, check: nothing }),
    );
  }
  for (const { command, args, env } of programs) await timed(command, args, env);
  return programs;
}

async function migrationProgram(
  server: BenchServer,
  schema: string,
  name: string,
  program: Omit<Program, 'name'>,
): Promise<Program> {
  await server.ask(`DROP DATABASE IF EXISTS ${schema}`, `CREATE DATABASE ${schema}`);
  return { ...program, name, env: { ...databaseEnv(server, schema), ...program.env } };
}

/** The same migrations as each program wants its files. */
async function writeMigrations(folder: string): Promise<{ plain: string; knex: string; golang: string }> {
  const folders = { plain: join(folder, 'plain'), knex: join(folder, 'knex'), golang: join(folder, 'golang') };
  for (const path of Object.values(folders)) await mkdir(path, { recursive: true });
  for (let index = 1; index <= migrationCount; index++) {
    const name = `${String(index).padStart(4, '0')}_step`;
    const columns = Array.from({ length: 8 }, (_, column) => `  c${column} VARCHAR(100) NOT NULL DEFAULT ''`);
    const up = `CREATE TABLE step_${index} (\n  id BIGINT NOT NULL PRIMARY KEY,\n${columns.join(',\n')}\n)`;
    const down = `DROP TABLE step_${index}`;
    await writeFile(join(folders.plain, `${name}.sql`), `${up};\n-- migrate:down\n${down};\n`);
    await writeFile(join(folders.golang, `${name}.up.sql`), `${up};\n`);
    await writeFile(join(folders.golang, `${name}.down.sql`), `${down};\n`);
    const raw = (sql: string) => `(knex) => knex.raw(${JSON.stringify(sql)})`;
    await writeFile(join(folders.knex, `${name}.cjs`), `exports.up = ${raw(up)};\nexports.down = ${raw(down)};\n`);
  }
  return folders;
}

interface Summary {
  readonly outcome: string;
  readonly applied?: readonly unknown[];
  readonly tables?: readonly { readonly read: number }[];
}

function expectSummary(stdout: string, holds: (summary: Summary) => boolean): void {
  // Both programs were told --json.
  const summary = JSON.parse(stdout) as Summary;
  if (summary.outcome !== 'done' || !holds(summary)) throw new Error(`there was something to do: ${stdout}`);
}

function report({ flavour }: BenchServer, measurements: Measurements): readonly ReportRow[] {
  const unit = { name: 'ms', scale: 1000, digits: 0 };
  const line = (work: string, ours: string, peer: string, label: string, limit: number | null) =>
    compare(
      measurements,
      { work, server: flavour, ours, peer },
      label,
      limit === null ? null : { limit, direction: 'atMost' },
      unit,
    );
  const loading = 'load --if-changed, small file, nothing changed';
  const migrating = `migrator up, ${migrationCount} applied, nothing to do`;
  const golang = line(migrating, 'migrate', 'golang', 'golang-migrate', null);
  return [
    line(loading, 'load', 'node', 'node -e 0', 3.5),
    line(migrating, 'migrate', 'node', 'node -e 0', 3.5),
    line(migrating, 'migrate', 'knex', 'knex migrate.latest', null),
    golang ?? notMeasured(migrating, flavour, 'golang-migrate'),
  ].filter((row) => row !== null);
}

function notMeasured(work: string, server: string, peer: string): ReportRow {
  return { work, server, ours: '', peer: `${peer}: not measured`, ratio: '–', target: '–', met: null };
}
