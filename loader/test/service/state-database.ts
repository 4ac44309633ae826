import { databaseSettings } from '@tableset/common/settings/database.ts';
import type { TestSchema } from '../../../test/servers.ts';
import { type ConnectionPool, openStateDatabase } from '../../src/service/state-database.ts';
import { coreTables, ensureTables } from '../../src/service/tables.ts';

/** The service's connections to a schema, with the core's tables made. */
export async function stateDatabase(schema: Pick<TestSchema, 'environment'>): Promise<ConnectionPool> {
  const { DB_HOST: host = '', DB_PORT: port, DB_NAME: name = '', DB_USER: user = '', DB_PASSWORD } = schema.environment;
  const account = { host, port: Number(port), name, user, password: DB_PASSWORD, passwordFile: undefined };
  const rest = { tls: 'disable', tlsCaFile: undefined, waitSeconds: 5, singleWriter: false } as const;
  const database = openStateDatabase(() => databaseSettings({ ...account, ...rest }), new AbortController().signal);
  await database.use((connection) => ensureTables(connection, coreTables));
  return database;
}
