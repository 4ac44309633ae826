import { eventually } from './command.ts';
import type { Scene, Values } from './scene.ts';

export const gatedTable = 'CREATE TABLE gated_rows (id INT PRIMARY KEY)';
export const gatedRows = 20;

/**
 * Holds a load up for as long as a case wants, so that no case depends on how fast the machine is: the load's source is a query
 * that waits for a named lock, and until the gate is opened a session of the server's event scheduler holds that lock.
 */
export class Gate implements AsyncDisposable {
  readonly #scene: Scene;
  readonly #holder: string;

  private constructor(scene: Scene, holder: string) {
    this.#scene = scene;
    this.#holder = holder;
  }

  static async shut(scene: Scene): Promise<Gate> {
    const left = await holderOf(scene);
    if (left !== undefined) await release(scene, left);
    await scene.sql(
      `CREATE EVENT gate ON SCHEDULE AT CURRENT_TIMESTAMP DO DO GET_LOCK('${lockName(scene)}', 0), SLEEP(3600)`,
    );
    return new Gate(scene, await eventually('the gate is shut', () => holderOf(scene)));
  }

  /** Values of database-load whose one table waits at the gate before its first row. */
  values(schedule?: string): Values {
    const numbers = Array.from({ length: gatedRows }, (_, index) => `SELECT ${index + 1} AS id`).join(' UNION ALL ');
    const query = `SELECT id FROM (${numbers}) AS numbers WHERE GET_LOCK('${lockName(this.#scene)}', 3600) = 1`;
    const { host, name, user } = this.#scene.database();
    return {
      config: {
        databases: { here: { host, name, user, passwordFile: '/secrets/database/password' } },
        load: [{ table: 'gated_rows', source: { query, from: 'here' } }],
      },
      ...(schedule === undefined ? {} : { cronjob: { schedule } }),
    };
  }

  /** Whether a run of this scene waits at the gate at this moment. */
  async isReached(): Promise<boolean> {
    const waiting = `USER = '${this.#scene.schema}' AND INFO LIKE '%${lockName(this.#scene)}%'`;
    return (await this.#scene.count(`SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE ${waiting}`)) > 0;
  }

  async open(): Promise<void> {
    // Once it is open, runs that come through hold the lock themselves, and are not to be cut off.
    if ((await holderOf(this.#scene)) === this.#holder) await release(this.#scene, this.#holder);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.open();
  }
}

function lockName(scene: Scene): string {
  return `${scene.schema}.gate`;
}

/** The connection that holds the lock, undefined when none does. */
async function holderOf(scene: Scene): Promise<string | undefined> {
  const [row] = await scene.sql(`SELECT COALESCE(IS_USED_LOCK('${lockName(scene)}'), '')`);
  return row?.[0] || undefined;
}

async function release(scene: Scene, holder: string): Promise<void> {
  await scene.sql(`KILL ${holder}`);
  await eventually('the gate is open', async () => (await holderOf(scene)) !== holder);
}
