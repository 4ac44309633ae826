import type { Scene, Values } from './scene.ts';

/** A configuration whose one table takes about `seconds` to load: its source is a query that sleeps on each of its rows. */
export function slowLoad(scene: Scene, seconds: number, schedule?: string): Values {
  const numbers = Array.from({ length: seconds * 2 }, (_, index) => `SELECT ${index + 1} AS id`).join(' UNION ALL ');
  const { host, name, user } = scene.database();
  return {
    config: {
      databases: { here: { host, name, user, passwordFile: '/secrets/database/password' } },
      load: [
        {
          table: 'slow_rows',
          source: { query: `SELECT id, SLEEP(0.5) AS slept FROM (${numbers}) AS numbers`, from: 'here' },
          ignore: ['slept'],
        },
      ],
    },
    ...(schedule === undefined ? {} : { cronjob: { schedule } }),
  };
}

export const slowTable = 'CREATE TABLE slow_rows (id INT PRIMARY KEY)';

/** Whether a run of this scene reads the slow source at this moment. */
export async function isReading(scene: Scene): Promise<boolean> {
  const own = `USER = '${scene.schema}' AND INFO LIKE '%SLEEP(0.5)%'`;
  return (await scene.count(`SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE ${own}`)) > 0;
}
