import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { describeEachServer } from '../../test/servers.ts';
import { LoaderFolder } from './run-loader.ts';

describeEachServer('the password of a run', (server) => {
  test('is in no output, error, ledger row or process list, whether the run ends well or not', async () => {
    const schema = await server.createSchema();
    await schema.script('CREATE TABLE t (id INT PRIMARY KEY, name VARCHAR(20)); CREATE TABLE u (id INT PRIMARY KEY)');
    const folder = new LoaderFolder(schema, [{ table: 't', source: 't.csv' }], {
      't.csv': 'id,name\n1,a\n',
      'bad.csv': 'id,name\n1,a\n1,b\nx,c\n',
    });
    const passwordFile = join(folder.path, 'password');
    await writeFile(passwordFile, `${schema.password}\n`);
    const wrong = 'wrong-canary-password';
    const runs = [
      await folder.run(['--log-level', 'debug']),
      await folder.run(['--log-level', 'debug', '--dry-run']),
      await folder.run(['--log-level', 'debug'], { DB_PASSWORD: wrong }),
      await folder.run(['--log-level', 'debug', '--table', 'nope']),
      await folder.run(['--log-level', 'debug', `--db-password=${schema.password}`]),
      await folder.run(['--log-level', 'debug', '--db-port', schema.password]),
    ];
    expect(runs.map(({ exit }) => exit)).toEqual([0, 0, 2, 2, 2, 2]);
    const ledger = await schema.query('SELECT * FROM tableset_runs');
    expect(ledger.length).toBeGreaterThan(0);
    const everything = JSON.stringify([
      runs.map(({ stderr, summary }) => [stderr, summary]),
      ledger,
      await schema.query('SELECT * FROM tableset_tables'),
    ]);
    expect(everything).toContain('"outcome":"done"');
    for (const secret of [schema.password, wrong]) expect(everything).not.toContain(secret);
  });
});
