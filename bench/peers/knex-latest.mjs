// The usual script in a pod's start: knex's migrate.latest on a folder of migrations.
import knex from 'knex';

const { env } = process;
const database = knex({
  client: 'mysql2',
  connection: {
    host: env.DB_HOST,
    port: Number(env.DB_PORT),
    user: env.DB_USER,
    password: env.DB_PASSWORD,
    database: env.DB_NAME,
  },
});
await database.migrate.latest({ directory: env.MIGRATIONS_DIR, loadExtensions: ['.cjs'] });
await database.destroy();
