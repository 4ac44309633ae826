import { expect, test } from 'vitest';
import { describeEachServer } from '../../test/servers.ts';
import { rounds } from '../../test/thoroughness.ts';
import { addFiles, migrationsFolder, runMigrator } from './run-migrator.ts';

const processes = rounds(8, 50);
const times = rounds(2, 20);

describeEachServer('a race of migrators', (server) => {
  test(`fault 50: ${processes} at once, ${times} times, each time with new migrations: each is done once, and all exit 0`, async () => {
    const schema = await server.createSchema();
    const folder = migrationsFolder({
      '0_table.sql': 'CREATE TABLE steps (id INT AUTO_INCREMENT PRIMARY KEY, step INT)',
    });
    const environment = { ...schema.environment, ON_BUSY: 'wait' };
    for (let time = 1; time <= times; time++) {
      // Every one of them would show if it ran twice: a definition fails, a row is there once more.
      const names = [`${time}01_column.sql`, `${time}02_rows.sql`];
      addFiles(folder, {
        [`${time}01_column.sql`]: `ALTER TABLE steps ADD COLUMN c${time} INT`,
        [`${time}02_rows.sql`]: `INSERT INTO steps (step) VALUES (${time}); INSERT INTO steps (step) VALUES (${time})`,
      });
      const runs = await Promise.all(Array.from({ length: processes }, () => runMigrator(environment, folder)));
      expect(runs.filter(({ code }) => code !== 0).map(({ code, error }) => [code, error])).toEqual([]);
      const applied = runs.flatMap(({ summary }) => summary['applied']);
      expect(applied.toSorted()).toEqual([...(time === 1 ? ['0_table.sql'] : []), ...names].toSorted());
    }
    expect(await schema.query('SELECT step, COUNT(*) AS n FROM steps GROUP BY step ORDER BY step')).toEqual(
      Array.from({ length: times }, (_, index) => ({ step: index + 1, n: 2 })),
    );
    const [columns] = await schema.query(
      "SELECT COUNT(*) AS n FROM information_schema.columns WHERE table_schema = DATABASE() AND table_name = 'steps'",
    );
    expect(columns).toEqual({ n: times + 2 });
  }, 600_000);
});
