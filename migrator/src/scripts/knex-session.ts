import type { Connection } from '@tableset/common/database/connection.ts';
import type { Level, Output } from '@tableset/common/output/output.ts';
import knexModule, { type Knex } from 'knex';
import type { QueryOptions, TypeCastField, TypeCastNext } from 'mysql2';

/**
 * A knex over the session that holds the schema's lock, and over no other: its pool is that one connection, which it neither
 * opens nor closes. Values arrive as knex users know them from mysql2: numbers, Dates (UTC), parsed JSON.
 */
export function knexOver(connection: Connection, output: Output): Knex {
  const tell = (level: Level) => (message: unknown) => output.event(level, 'knex', { message: String(message) });
  const knex = knexModule({
    client: sessionClient(connection),
    // knex works without a connection unless it is given one; the name is what `hasTable` and the like ask for.
    connection: { database: connection.settings.name },
    pool: { min: 0, max: 1 },
    // Its warnings are of no use here (one comes with every DDL in a transaction) and would stand amid the JSON.
    log: { warn: tell('debug'), error: tell('warn'), deprecate: tell('debug'), debug: tell('debug') },
  });
  // Migrations that serve several databases ask which one this is; a class is not what they expect to read there.
  Object.assign(knex.client.config, { client: 'mysql2' });
  return knex;
}

/** What mysql2 calls back with. */
type Callback = (error: Error | null, rows: unknown, fields: unknown) => void;
interface KnexQuery {
  readonly sql: string;
  readonly bindings?: readonly unknown[];
  readonly options?: object;
  response?: unknown;
}

function sessionClient(connection: Connection): typeof Knex.Client {
  const { driver } = connection;
  // knex's types do not declare the dialects' classes, only the base class.
  const Base = mysqlClient() as typeof Knex.Client;
  return class SessionClient extends Base {
    override initializeDriver(): void {
      // The driver is the one of the session; knex would load another copy by name.
      Object.assign(this, { driver: {} });
    }

    override acquireRawConnection(): Promise<unknown> {
      return Promise.resolve(driver);
    }

    override destroyRawConnection(): Promise<void> {
      return Promise.resolve();
    }

    override validateConnection(): Promise<boolean> {
      return Promise.resolve(!connection.lost);
    }

    _query(_connection: unknown, query: KnexQuery | string): Promise<KnexQuery> {
      const asked: KnexQuery = typeof query === 'string' ? { sql: query } : query;
      return new Promise((resolve, reject) => {
        const done: Callback = (error, rows, fields) => {
          if (error) return reject(error);
          asked.response = [countFound(rows), fields];
          resolve(asked);
        };
        const options: QueryOptions = { ...asked.options, sql: asked.sql, typeCast: castForKnex };
        driver.query(options, [...(asked.bindings ?? [])], done);
      });
    }
  };
}

function mysqlClient(): unknown {
  const probe = knexModule({ client: 'mysql2' });
  return probe.client.constructor;
}

/** mysql2 by default has the server count the rows that an UPDATE found; the session counts those it changed. */
function countFound(rows: unknown): unknown {
  if (typeof rows !== 'object' || rows === null || !('info' in rows) || typeof rows.info !== 'string') return rows;
  const matched = /^Rows matched: (\d+)/.exec(rows.info)?.[1];
  return matched === undefined ? rows : Object.assign(rows, { affectedRows: Number(matched) });
}

function castForKnex(field: TypeCastField, next: TypeCastNext): unknown {
  switch (field.type) {
    case 'LONGLONG': {
      const text = field.string();
      const number = text === null ? null : Number(text);
      return number === null || Number.isSafeInteger(number) ? number : text;
    }
    case 'DATE':
    case 'DATETIME':
    case 'TIMESTAMP': {
      const text = field.string();
      return text === null ? null : new Date(text.includes(' ') ? `${text.replace(' ', 'T')}Z` : text);
    }
    default:
      return next();
  }
}
