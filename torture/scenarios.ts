import { mkdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { compareRows, type Finding, finding } from './findings.ts';
import type { Programs } from './program/build.ts';
import type { VerbName } from './program/run-verb.ts';
import { isStaging } from './schema.ts';
import { batchesOfRun, fillShop, oldOrders, RowBag, type Rows, shopRows } from './shop.ts';
import type { Stage } from './stage.ts';
import type { Writer, WriterReach } from './writer.ts';

/** What is to be seen: after a run that was struck, or after one that reached its goal. */
export type When = 'struck' | 'done';

export interface Scenario {
  readonly name: ScenarioName;
  readonly verb: VerbName;
  readonly words: readonly string[];
  /** It has to do with the store; the others are run with one alone. */
  readonly archives: boolean;
  /**
   * Brings the stage to where the verb begins, and returns what has to be known of it.
   * @param beside what others do meanwhile
   */
  prepare(stage: Stage, programs: Programs, beside?: Beside): Promise<Checks>;
  /** What a writer beside it may touch, so that the verb still can reach its goal; null: nothing that it has to do with. */
  readonly writer: WriterReach | null;
}

/** Who else changes rows. */
export interface Beside {
  /** SQL of a change that is left uncommitted, and counts as what was there before. */
  readonly disturbance?: string;
  /** It begins once all is prepared. */
  readonly writer?: Writer | null;
}

/** What is asserted on connections of the checker's own. */
export type Checks = (when: When) => Promise<readonly Finding[]>;

export type ScenarioName = 'archive' | 'purge' | 'restore' | 'load' | 'migrate';

const archive: Scenario = {
  name: 'archive',
  verb: 'archive',
  words: [],
  archives: true,
  writer: 'all',
  async prepare(stage, _programs, beside) {
    const before = mutable(await freshShop(stage, beside?.disturbance));
    beside?.writer?.begin(before);
    return (when) => checkArchived(stage, before, when);
  },
};

const purge: Scenario = {
  name: 'purge',
  verb: 'purge',
  words: [],
  archives: true,
  writer: 'young',
  async prepare(stage, programs, beside) {
    await freshShop(stage);
    const { here, there } = await archived(stage, programs);
    const expired = new Set((await expiredBatches(stage)).map(String));
    beside?.writer?.begin(here);
    return async (when) => {
      const findings = [...compareRows('rows beside the purge', here, { rows: mutable(await shopRows(stage.schema)) })];
      const states = await batchStates(stage);
      const contents = await stage.archive.contents();
      for (const [batch, rows] of there) {
        const state = states.get(batch);
        const found = new RowBag().addAll(contents.get(batch) ?? new Map());
        if (state === 'deleted') findings.push(...compareRows('rows of a batch that is not purged', rows, found));
        else if (state === 'purged' && contents.has(batch))
          findings.push(finding('untidy', 'a purged batch is gone from its store', batch));
        if (!expired.has(batch) && state !== 'deleted')
          findings.push(finding('lost', 'a batch whose time has not come stays', `${batch} is ${state}`));
        if (when === 'done' && expired.has(batch) && state !== 'purged')
          findings.push(finding('refused', 'every expired batch is purged', `${batch} is ${state}`));
      }
      return [...findings, ...(when === 'done' ? await tidyLedger(stage, ['deleted', 'purged']) : [])];
    };
  },
};

const restore: Scenario = {
  name: 'restore',
  verb: 'restore',
  words: ['--table', 'orders', '--from', '2000-01-01'],
  archives: true,
  writer: 'young',
  async prepare(stage, programs, beside) {
    const before = mutable(await freshShop(stage));
    const { there } = await archived(stage, programs);
    const archivedKeys = new Set([...there.values()].flatMap((rows) => [...rows.keys()]));
    beside?.writer?.begin(before);
    return async (when) => {
      const now = await shopRows(stage.schema);
      const findings: Finding[] = [];
      // Whatever is there must be as it was, and what was not archived must be there.
      const expected =
        when === 'done' ? before : new Map([...before].filter(([key]) => now.has(key) || !archivedKeys.has(key)));
      findings.push(...compareRows('restored rows', expected, { rows: mutable(now) }));
      const contents = await stage.archive.contents();
      for (const [batch, rows] of there)
        findings.push(
          ...compareRows('the archive after a restore', rows, new RowBag().addAll(contents.get(batch) ?? new Map())),
        );
      if (when === 'struck') return findings;
      const [{ n } = { n: null }] = await stage.schema.query('SELECT COUNT(*) AS n FROM tableset_holds');
      if (Number(n) !== oldOrders) findings.push(finding('untidy', 'every restored row is held once', `${n} holds`));
      return [...findings, ...(await tidyLedger(stage, ['deleted']))];
    };
  },
};

const oldProducts = 'id,name,price\n1,"one",1.10\n2,"two",2.20\n3,"three",3.30\n4,"four",\n';
const newProducts = 'id,name,price\n1,"one",1.10\n2,"zwei",2.25\n4,"four",\n5,"Grüße 😀",5.50\n6,"six",6.60\n';

const load: Scenario = {
  name: 'load',
  verb: 'load',
  words: [],
  archives: false,
  writer: null,
  async prepare(stage, programs) {
    const { schema } = stage;
    await schema.query(
      'CREATE TABLE IF NOT EXISTS products (id INT NOT NULL PRIMARY KEY, name VARCHAR(40) NOT NULL, price DECIMAL(8,2) NULL)',
    );
    await schema.empty();
    const source = join(stage.folder, 'products.csv');
    await writeFile(source, oldProducts);
    await mustEnd(stage, programs, 'load');
    await writeFile(source, newProducts);
    return async (when) => {
      const rows = await schema.query(
        "SELECT CONCAT_WS(',', id, name, IFNULL(price, '')) AS line FROM products ORDER BY id",
      );
      const found = rows.map(({ line }) => line).join('\n');
      const [before, after] = [oldProducts, newProducts].map((text) =>
        text.replaceAll('"', '').trim().split('\n').slice(1).join('\n'),
      );
      if (found === after) return when === 'struck' ? [] : await noStaging(stage);
      if (found === before && when === 'struck') return [];
      return [finding('altered', 'a load is published whole or not at all', found)];
    };
  },
};

const migrations: Readonly<Record<string, string>> = {
  '0001_make.sql':
    "CREATE TABLE parts (id INT NOT NULL PRIMARY KEY, name VARCHAR(20) NOT NULL);\nINSERT INTO parts VALUES (1, 'one'), (2, 'two');\n",
  '0002_widen.sql': 'ALTER TABLE parts ADD COLUMN stock INT NOT NULL DEFAULT 0;\n',
  '0003_count.sql': 'UPDATE parts SET stock = stock + 1;\nUPDATE parts SET stock = stock + 10 WHERE id = 2;\n',
  '0004_index.sql': 'CREATE INDEX by_name ON parts (name);\n',
};

const migrate: Scenario = {
  name: 'migrate',
  verb: 'up',
  words: [],
  archives: false,
  writer: null,
  async prepare(stage) {
    const { schema, folder } = stage;
    await schema.dropTables();
    await rm(join(folder, 'migrations'), { recursive: true, force: true });
    await mkdir(join(folder, 'migrations'));
    for (const [name, text] of Object.entries(migrations)) await writeFile(join(folder, 'migrations', name), text);
    return async (when) => {
      if (when === 'struck') return [];
      const rows = await schema.query("SELECT CONCAT_WS(',', id, name, stock) AS line FROM parts ORDER BY id");
      const found = rows.map(({ line }) => line).join(' ');
      const findings: Finding[] = [];
      if (found !== '1,one,1 2,two,11') findings.push(finding('altered', 'every migration is applied once', found));
      const indexes = await schema.query("SHOW INDEX FROM parts WHERE Key_name = 'by_name'");
      if (indexes.length !== 1) findings.push(finding('lost', 'every migration is applied once', 'no index'));
      return findings;
    };
  },
};

export const scenarios: readonly Scenario[] = [archive, purge, restore, load, migrate];

async function freshShop(stage: Stage, disturbance = ''): Promise<Rows> {
  await stage.schema.empty();
  await stage.archive.empty();
  await fillShop(stage.schema);
  if (disturbance !== '') await stage.schema.query(`START TRANSACTION; ${disturbance}`);
  return await shopRows(stage.schema);
}

/** An archive that was made without faults. */
async function archived(stage: Stage, programs: Programs) {
  await mustEnd(stage, programs, 'archive');
  const there = await stage.archive.contents();
  if (there.size !== batchesOfRun) throw new Error(`${there.size} batches instead of ${batchesOfRun}`);
  return { here: mutable(await shopRows(stage.schema)), there };
}

async function mustEnd(stage: Stage, programs: Programs, verb: VerbName): Promise<void> {
  const { exit, code, message } = await stage.run(programs, verb, []);
  if (exit !== 0) throw new Error(`${verb} without faults ended with ${exit} ${code}: ${message}`);
}

async function batchStates(stage: Stage): Promise<ReadonlyMap<string, string>> {
  if (!(await stage.schema.tables()).includes('tableset_batches')) return new Map();
  const rows = await stage.schema.query('SELECT CAST(id AS CHAR) AS id, state FROM tableset_batches');
  return new Map(rows.map(({ id, state }) => [String(id), String(state)]));
}

async function expiredBatches(stage: Stage): Promise<readonly unknown[]> {
  const rows = await stage.schema.query(
    'SELECT CAST(id AS CHAR) AS id FROM tableset_batches WHERE newest < UTC_TIMESTAMP(6) - INTERVAL 400 DAY',
  );
  return rows.map(({ id }) => id);
}

/** Each row that was there is in exactly one home, as it was; after the end also: where it belongs, and nothing else is anywhere. */
async function checkArchived(stage: Stage, before: Rows, when: When): Promise<readonly Finding[]> {
  const states = await batchStates(stage);
  const contents = await stage.archive.contents();
  const here = await shopRows(stage.schema);
  const visible = new RowBag();
  for (const [batch, rows] of contents) if (states.get(batch) === 'deleted') visible.addAll(rows);
  const together = new RowBag().addAll(here).addAll(visible.rows);
  const findings = [...compareRows('each row has exactly one home', before, together)];
  if (when === 'struck') return findings;
  const [{ now } = { now: null }] = await stage.schema.query(
    'SELECT CAST(UTC_TIMESTAMP(6) - INTERVAL 30 DAY AS CHAR) AS now',
  );
  const isOld = (line: string) => orderDate(line) < String(now);
  for (const [key, lines] of here)
    if (isOrder(key) && lines.some(isOld)) findings.push(finding('refused', 'every old row is archived', key));
  const young = [...visible.rows].filter(([key, lines]) => isOrder(key) && !lines.every(isOld)).map(([key]) => key);
  if (young.length > 0) findings.push(finding('lost', 'rows that are not old enough stay', young));
  for (const batch of contents.keys())
    if (states.get(batch) !== 'deleted')
      findings.push(
        finding('untidy', 'the store has no other batches than the ledger', `${batch} ${states.get(batch)}`),
      );
  const [told] = await stage.schema.query(
    "SELECT 1 FROM tableset_tables WHERE table_name = 'orders' AND archived_before IS NOT NULL",
  );
  if (!told) findings.push(finding('untidy', 'loads are told how far the archive goes', 'no watermark'));
  return [...findings, ...(await tidyLedger(stage, ['deleted', 'removed']))];
}

/** What a run that ended early says it archived is what it archived. */
export async function checkSummary(
  stage: Stage,
  summary: Readonly<Record<string, unknown>>,
): Promise<readonly Finding[]> {
  // The summary of an archive has this form, or nothing of it where it ended before.
  const tables = (summary['tables'] ?? []) as readonly { readonly table: string; readonly archived: number }[];
  const told = tables.find(({ table }) => table === 'orders')?.archived ?? 0;
  const states = await batchStates(stage);
  let found = 0;
  for (const [batch, rows] of await stage.archive.contents())
    if (states.get(batch) === 'deleted') for (const key of rows.keys()) if (key.startsWith('orders ')) found++;
  if (told === found) return [];
  return [finding('untidy', 'the summary tells what was archived', `${told} orders were told, ${found} are there`)];
}

function isOrder(key: string): boolean {
  return key.startsWith('orders ');
}

/** The last column of an order. */
function orderDate(line: string): string {
  // Lines are made of columns as texts.
  return (JSON.parse(line) as readonly (string | null)[]).at(-1) ?? '';
}

/** No batch is under way, and nothing temporary is there. */
async function tidyLedger(stage: Stage, states: readonly string[]): Promise<readonly Finding[]> {
  const findings: Finding[] = [];
  for (const [batch, state] of await batchStates(stage))
    if (!states.includes(state)) findings.push(finding('untidy', 'no batch is under way', `${batch} is ${state}`));
  return [...findings, ...(await noStaging(stage))];
}

async function noStaging(stage: Stage): Promise<readonly Finding[]> {
  const left = (await stage.schema.tables()).filter(isStaging);
  return left.length === 0 ? [] : [finding('untidy', 'no staging table is left', left)];
}

function mutable(rows: Rows): Map<string, string[]> {
  return new RowBag().addAll(rows).rows;
}
