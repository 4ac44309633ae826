/**
 * Shows the whole product on a database of its own: migrate, load, start the app, load again, change one row, load again; then archive old orders
 * to files and to SQLite, prove, find, restore and purge them.
 * Checks every number that it shows, and exits with 1 when one is not what it says. `--database given|path|packages|docker`
 * chooses how to get a server; by default the first way that works. Leaves nothing behind.
 */
import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { thousands } from '../common/src/output/table.ts';
import { archiveOldOrders } from './demo/archiving.ts';
import { expectThat, say, showTable } from './demo/narration.ts';
import { type LoadSummary, load, migrate, type Surroundings, startApp } from './demo/programs.ts';
import { createSchema } from './demo/schema.ts';
import { type DatabaseWay, startDatabase } from './embedded-database/index.ts';

const example = join(import.meta.dirname, '..', 'examples', 'order-food');
const ways: readonly DatabaseWay[] = ['given', 'path', 'packages', 'docker'];
const wayNames: Readonly<Record<DatabaseWay, string>> = {
  given: 'the server that DB_HOST names',
  path: 'a server program on this machine, run for the demo',
  packages: "MariaDB out of the distribution's packages, run for the demo",
  docker: 'a container, run for the demo',
};

/** The one row that the demo changes. */
const change = { id: 114, name: 'Τζατζίκι', from: ',4.50,EUR,', to: ',4.80,EUR,', price: '4.80' };

function showSummary(summary: LoadSummary): void {
  showTable(['table', 'read', 'inserted', 'updated', 'deleted', 'unchanged', 'rejected'], summary.tables);
}

function total(summary: LoadSummary, column: 'read' | 'inserted' | 'updated' | 'deleted' | 'unchanged' | 'rejected') {
  return summary.tables.reduce((sum, entry) => sum + entry[column], 0);
}

interface ProductsAnswer {
  readonly freshness: readonly { readonly table: string; readonly ageSeconds: number }[];
  readonly products: readonly {
    readonly id: number;
    readonly name: string;
    readonly price: string;
    readonly city: string;
  }[];
}

async function askProducts(url: string, signal: AbortSignal): Promise<ProductsAnswer> {
  const response = await fetch(`${url}/products`, { signal });
  if (response.status !== 200) throw new Error(`GET /products answered ${response.status}`);
  // The example app's own shape; a missing field fails the checks that follow.
  return (await response.json()) as ProductsAnswer;
}

async function temporaryFolder() {
  const path = await mkdtemp(join(tmpdir(), 'tableset-demo-'));
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }) };
}

async function demo(signal: AbortSignal, way: DatabaseWay | undefined): Promise<void> {
  await using database = await startDatabase(way === undefined ? {} : { ways: [way] });
  say(`Database: ${database.flavour} ${database.version}, ${wayNames[database.kind]}`);
  await using folder = await temporaryFolder();
  await using schema = await createSchema(database);
  const config = join(folder.path, 'config.yaml');
  await cp(join(example, 'config.yaml'), config);
  await cp(join(example, 'data'), join(folder.path, 'data'), { recursive: true });
  const passwordFile = join(folder.path, 'password');
  await writeFile(passwordFile, database.password, { mode: 0o600 });
  const surroundings: Surroundings = {
    signal,
    environment: {
      DB_HOST: database.host,
      DB_PORT: String(database.port),
      DB_USER: database.user,
      DB_PASSWORD_FILE: passwordFile,
      DB_NAME: schema.name,
      MIGRATIONS_DIR: join(example, 'migrations'),
    },
  };

  say('migrator up: the schema of the example shop');
  const migrated = await migrate(surroundings);
  expectThat(migrated.applied.length === 7, `7 migrations applied, the schema is at version ${migrated.version}`);
  const again = await migrate(surroundings);
  expectThat(again.applied.length === 0, 'up again: nothing to do');

  say('loader load: its data, from CSV, TSV and JSON, some of it compressed');
  const first = await load(config, surroundings);
  showSummary(first);
  const products = first.tables.find((entry) => entry.table === 'products');
  expectThat(total(first, 'inserted') === total(first, 'read'), `all ${thousands(total(first, 'read'))} rows inserted`);
  for (const { table, inserted } of first.tables) {
    if (inserted !== (await schema.count(table))) throw new Error(`${table} does not hold the ${inserted} rows`);
  }
  expectThat(first.tables.length === 6, 'six tables hold exactly the rows that were read, counted in the database');

  say('The example app starts, and is asked for its products');
  await using app = await startApp(surroundings);
  const answer = await askProducts(app.url, signal);
  for (const { city, name, price } of answer.products.slice(0, 3)) console.log(`           ${city}: ${name}, ${price}`);
  expectThat(answer.products.length === products?.inserted, `GET /products lists ${answer.products.length} products`);
  const age = answer.freshness.find((entry) => entry.table === 'products')?.ageSeconds ?? Number.NaN;
  expectThat(age >= 0 && age < 60, `and says that they are as of ${age} seconds ago`);

  say('loader load again: nothing has changed');
  const second = await load(config, surroundings);
  showSummary(second);
  const written = total(second, 'inserted') + total(second, 'updated') + total(second, 'deleted');
  expectThat(written === 0, 'no row was written');
  expectThat(
    total(second, 'unchanged') === total(first, 'read'),
    `all ${thousands(total(second, 'unchanged'))} rows were compared`,
  );

  say(`One row of the source changes: ${change.name} costs ${change.price} from now on`);
  await changeSource(join(folder.path, 'data', 'products.csv'));
  const third = await load(config, surroundings);
  showSummary(third);
  const updated = third.tables.filter((entry) => entry.updated > 0);
  expectThat(
    updated.length === 1 && updated[0]?.table === 'products' && updated[0].updated === 1,
    'exactly one row was updated, in products',
  );
  expectThat(total(third, 'inserted') + total(third, 'deleted') === 0, 'and nothing else was written');
  const now = (await askProducts(app.url, signal)).products.find((product) => product.id === change.id);
  expectThat(now?.name === change.name && now.price === change.price, `GET /products: ${now?.name}, ${now?.price}`);

  await archiveOldOrders({ surroundings, schema, folder: folder.path });
  const after = await askProducts(app.url, signal);
  expectThat(after.products.length === answer.products.length, 'the app has been running all the while');
}

async function changeSource(path: string): Promise<void> {
  const text = await readFile(path, 'utf8');
  const lines = text.split('\n');
  const line = lines.findIndex((candidate) => candidate.startsWith(`${change.id},`));
  const changed = lines[line]?.replace(change.from, change.to);
  if (changed === undefined || changed === lines[line]) throw new Error(`${path} has no row ${change.id} to change`);
  await writeFile(path, lines.with(line, changed).join('\n'));
}

const { values } = parseArgs({ options: { database: { type: 'string' } } });
const way = ways.find((name) => name === values.database);
if (values.database !== undefined && way === undefined) throw new Error(`--database takes ${ways.join(', ')}`);
const stop = new AbortController();
for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => stop.abort(new Error(`stopped by ${signal}`)));
// A reader that went away, as `head` does, ends the demo in good order too.
process.stdout.on('error', () => stop.abort(new Error('nobody reads the output any more')));
try {
  await demo(stop.signal, way);
  say('Done. Nothing is left behind. README.md says how to use it for your own tables.');
} catch (error) {
  const reason: unknown = stop.signal.aborted ? stop.signal.reason : error;
  console.error(`\nThe demo failed: ${reason instanceof Error ? reason.message : String(reason)}`);
  process.exitCode = 1;
}
