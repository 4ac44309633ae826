import type { Case } from '../case.ts';
import { expectThat } from '../command.ts';

/** Memory stays flat whatever the source's size. */
const memory: Case = {
  number: 19,
  promise: 'a load of a million rows stays within a memory limit of 160Mi',
  core: false,
  async run(scene) {
    await scene.sql(
      'CREATE TABLE readings (id INT PRIMARY KEY, place VARCHAR(40) NOT NULL, value DECIMAL(10, 3) NOT NULL)',
    );
    const thousand = 'WITH RECURSIVE n AS (SELECT 0 AS i UNION ALL SELECT i + 1 FROM n WHERE i < 999)';
    const columns = "a.i * 1000 + b.i + 1 AS id, CONCAT('place ', b.i) AS place, CAST(a.i AS DECIMAL(10, 3)) AS value";
    const { host, name, user } = scene.database();
    const here = { host, name, user, passwordFile: '/secrets/database/password' };
    const query = `${thousand} SELECT ${columns} FROM n AS a CROSS JOIN n AS b`;
    await scene.installLoad({
      config: { databases: { here }, load: [{ table: 'readings', source: { query, from: 'here' } }] },
      resources: { requests: { cpu: '50m', memory: '160Mi' }, limits: { memory: '160Mi' } },
      cronjob: { restartPolicy: 'Never', backoffLimit: 0 },
    });
    expectThat(
      (await scene.jobEnd(await scene.runNow('million'), 900)) === 'Complete',
      'the run succeeded at its first try',
    );
    expectThat((await scene.count('SELECT COUNT(*) FROM readings')) === 1_000_000, 'every row is there');
  },
};
export default memory;
