import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parse } from 'yaml';
import { chartsFolder } from './cluster.ts';
import { expectThat } from './command.ts';
import type { Scene, Values } from './scene.ts';

/**
 * Orders of the shop by age: some stay, some are to be archived, some are past their retention too. Only orders that are old in their source
 * become old here: a load would bring back the others, and rightly.
 */
const ages = `SET @old = '2025-01-01';
  UPDATE orders SET created_at = UTC_TIMESTAMP(3) - INTERVAL 1 DAY WHERE created_at >= @old;
  UPDATE orders SET created_at = UTC_TIMESTAMP(3) - INTERVAL IF(CRC32(id) % 2 = 0, 200, 800) DAY - INTERVAL id % 997 SECOND
    WHERE created_at < @old;`;

/** SQL for orders of the first kind that is archived, and of the second. */
export const within = 'created_at BETWEEN UTC_TIMESTAMP() - INTERVAL 210 DAY AND UTC_TIMESTAMP() - INTERVAL 190 DAY';
export const expired = 'created_at < UTC_TIMESTAMP() - INTERVAL 790 DAY';
export const old = 'created_at < UTC_TIMESTAMP() - INTERVAL 190 DAY';

/** Rows of a batch at most, where a case does not say otherwise. */
export const batchRows = 100;

/** The shop with its old orders, the CronJobs that archive and purge them, and a schema for the archive; that goes when the case ends. */
export class ArchivingShop {
  readonly #scene: Scene;
  /** Schema of the archive, on the server of the shop. */
  readonly archive: string;

  private constructor(scene: Scene) {
    this.#scene = scene;
    this.archive = `${scene.schema}_archive`;
  }

  /** @param rows of a batch at most */
  static async open(scene: Scene, rows = batchRows): Promise<ArchivingShop> {
    const shop = new ArchivingShop(scene);
    await scene.sql(
      `DROP DATABASE IF EXISTS ${shop.archive}; CREATE DATABASE ${shop.archive};
       GRANT ALL ON ${shop.archive}.* TO '${scene.schema}'@'%';`,
    );
    try {
      await scene.installLoad(await shop.#values(rows));
      await scene.installApp({}, '--wait');
      await scene.sql(ages);
    } catch (error) {
      await shop[Symbol.asyncDispose]();
      throw error;
    }
    return shop;
  }

  async #values(rows: number): Promise<Values> {
    const file = join(chartsFolder, '..', 'examples/order-food/kubernetes/database-load.yaml');
    // The example's own values.
    const shop = parse(await readFile(file, 'utf8')) as { config: Values };
    const entry = { table: 'orders', dateColumn: 'created_at', store: 'cold', children: ['order_items'] };
    const config = {
      ...shop.config,
      stores: { cold: { mysql: { name: this.archive } } },
      archive: [{ ...entry, archiveAfterDays: 180, deleteAfterDays: 730 }],
      limits: { batchRows: rows },
    };
    // The standard schedule could come due in the middle of a case.
    const cronjob = { enabled: true, schedule: '0 0 1 1 *' };
    return { ...shop, config, archive: { cronjob }, purge: { cronjob } };
  }

  /** Runs the CronJob of archive or purge now, as people do. @returns how its Job ended */
  async run(verb: 'archive' | 'purge', name: string): Promise<'Complete' | 'Failed'> {
    await this.start(verb, name);
    return await this.#scene.jobEnd(name);
  }

  /** The same without waiting for its end. */
  async start(verb: 'archive' | 'purge', name: string): Promise<void> {
    await this.#scene.kubectl('create', 'job', name, `--from=cronjob/database-load-${verb}`);
  }

  /** Runs another verb in the pod of the archive's CronJob, as the chart's README says. @returns how its Job ended */
  async runAs(name: string, args: readonly string[]): Promise<'Complete' | 'Failed'> {
    const flags = ['--from=cronjob/database-load-archive', '--dry-run=client', '-o', 'json'];
    // kubectl prints the Job that it would make.
    const job = JSON.parse(await this.#scene.kubectl('create', 'job', name, ...flags)) as {
      spec: { template: { spec: { containers: { args: readonly string[] }[] } } };
    };
    const [container] = job.spec.template.spec.containers;
    expectThat(container !== undefined, 'the Job has a container');
    container.args = args;
    await this.#scene.apply({ ...job });
    return await this.#scene.jobEnd(name);
  }

  /** How many rows a table of the shop, or of its archive, has; `where` is SQL. */
  count(table: string, where = 'TRUE'): Promise<number> {
    return this.#scene.count(`SELECT COUNT(*) FROM ${table} WHERE ${where}`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#scene.sql(`DROP DATABASE IF EXISTS ${this.archive}`);
  }
}
