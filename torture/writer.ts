import { setTimeout as delay } from 'node:timers/promises';
import { serverErrno } from '@tableset/common/database/errno.ts';
import { randomFrom } from './random.ts';
import type { RootSession, Row, Schema } from './schema.ts';
import { rowKey, rowQuery, type ShopTable } from './shop.ts';

/** Rows as they are expected, which the writer keeps in step with what it has changed. */
export type ExpectedRows = Map<string, string[]>;

/** Which orders it may touch: any of them, or only those that are too young to be archived. */
export type WriterReach = 'all' | 'young';

/** Somebody else who writes all the time: updates, re-dates, deletes and inserts orders and items, and knows of each row what it must be. */
export interface Writer extends AsyncDisposable {
  /** The rows to keep in step, from which it begins; a key that was archived and is used again has a row in each home. */
  begin(expected: ExpectedRows): void;
  /** Resolves once its last change is committed or was refused. */
  stop(): Promise<void>;
  /** Changes that were acknowledged. */
  readonly changes: number;
}

/** Others were there first, or what was to be changed is in the archive: nothing has happened. */
const refusals = new Set([1205, 1213, 1020, 1452, 1062, 1451]);

const changesMax = 2_000;
const insertsMax = 30;
const oldDate = "'2019-06-01 00:00:00.000003'";
const lastOld = 9;
const lastOrder = 12;

export async function startWriter(schema: Schema, reach: WriterReach, seed: number): Promise<Writer> {
  const session = await schema.openSession();
  const history = new History(session, reach, randomFrom(seed));
  let [stopped, running] = [false, Promise.resolve()];
  const work = async (expected: ExpectedRows) => {
    while (!stopped && history.changes < changesMax) {
      await history.change(expected);
      await delay(history.random() * 12);
    }
  };
  const stop = async () => {
    stopped = true;
    await running;
  };
  return {
    begin: (expected) => {
      running = work(expected);
      // Whoever stops it hears of a failure.
      running.catch(() => {});
    },
    stop,
    get changes() {
      return history.changes;
    },
    async [Symbol.asyncDispose]() {
      stopped = true;
      await running.catch(() => {});
      await session.end();
    },
  };
}

class History {
  readonly random: () => number;
  changes = 0;
  readonly #session: RootSession;
  readonly #reach: WriterReach;
  #inserts = 0;
  #nextItem = 1_000;

  constructor(session: RootSession, reach: WriterReach, random: () => number) {
    this.#session = session;
    this.#reach = reach;
    this.random = random;
  }

  /** One transaction, which the rows that are expected follow once it is acknowledged. */
  async change(expected: ExpectedRows): Promise<void> {
    const dice = this.random();
    try {
      await this.#session.query('START TRANSACTION');
      const apply = await this.#choose(dice);
      await this.#session.query(apply ? 'COMMIT' : 'ROLLBACK');
      if (!apply) return;
      apply(expected);
      this.changes++;
    } catch (error) {
      if (!refusals.has(serverErrno(error) ?? 0)) throw error;
      await this.#session.query('ROLLBACK');
    }
  }

  #choose(dice: number): Promise<Apply | null> {
    const id = this.#someOrder();
    const canInsert = this.#inserts < insertsMax;
    if (dice < 0.35) return this.#update(id, `note = 'changed ${this.changes}'`);
    if (dice < 0.45) return this.#update(id, `created_at = ${this.#date()}`);
    if (dice < 0.7) return this.#addItem(id);
    if (dice < 0.75) return this.#remove(id);
    // A key whose row is in the archive may be used again.
    if (dice < 0.85 && this.#reach === 'all' && canInsert) return this.#insert(id);
    return canInsert ? this.#insert(1_000 + this.#inserts) : this.#update(id, 'total = total + 1');
  }

  #someOrder(): number {
    const from = this.#reach === 'all' ? 1 : lastOld + 1;
    const inserted = this.random() < 0.3 && this.#inserts > 0;
    if (inserted) return 1_000 + Math.floor(this.random() * this.#inserts);
    return from + Math.floor(this.random() * (lastOrder - from + 1));
  }

  #date(): string {
    return this.#reach === 'all' && this.random() < 0.7 ? oldDate : 'UTC_TIMESTAMP(6)';
  }

  async #update(id: number, assignment: string): Promise<Apply | null> {
    if ((await this.#session.run(`UPDATE orders SET ${assignment} WHERE id = ${id}`)) !== 1) return null;
    const line = await this.#line('orders', id);
    return (expected) => void linesOf(expected, 'orders', id).splice(-1, 1, line);
  }

  async #insert(id: number): Promise<Apply> {
    await this.#session.run(
      `INSERT INTO orders (id, customer, total, weight, created_at) VALUES (${id}, 'writer', 1.5, 0.5, ${this.#date()})`,
    );
    const addItem = await this.#addItem(id);
    const line = await this.#line('orders', id);
    return (expected) => {
      if (id === 1_000 + this.#inserts) this.#inserts++;
      linesOf(expected, 'orders', id).push(line);
      addItem(expected);
    };
  }

  /** The server refuses it where the order is not there. */
  async #addItem(id: number): Promise<Apply> {
    const item = this.#nextItem++;
    await this.#session.run(`INSERT INTO items VALUES (${item}, ${id}, 'added')`);
    const line = await this.#line('items', item);
    return (expected) => void linesOf(expected, 'items', item).push(line);
  }

  async #remove(id: number): Promise<Apply | null> {
    const items = await this.#session.query(
      `SELECT CAST(id AS CHAR) AS id FROM items WHERE order_id = ${id} FOR UPDATE`,
    );
    await this.#session.run(`DELETE FROM items WHERE order_id = ${id}`);
    if ((await this.#session.run(`DELETE FROM orders WHERE id = ${id}`)) !== 1) return null;
    return (expected) => {
      for (const item of items) removeLast(expected, rowKey('items', item['id']));
      removeLast(expected, rowKey('orders', id));
    };
  }

  async #line(table: ShopTable, id: number): Promise<string> {
    const [row]: readonly (Row | undefined)[] = await this.#session.query(rowQuery(table, table, `id = ${id}`));
    if (row === undefined) throw new Error(`${table} ${id} was written and is not there`);
    return JSON.stringify(Object.values(row));
  }
}

type Apply = (expected: ExpectedRows) => void;

/** The last one is the table's; those before it, of the same key, are the archive's. */
function linesOf(expected: ExpectedRows, table: ShopTable, id: unknown): string[] {
  const key = rowKey(table, id);
  const lines = expected.get(key) ?? [];
  expected.set(key, lines);
  return lines;
}

function removeLast(expected: ExpectedRows, key: string): void {
  const lines = expected.get(key);
  lines?.pop();
  if (lines?.length === 0) expected.delete(key);
}
