import type { Case } from '../case.ts';
import { expectThat } from '../command.ts';
import { menu } from '../menu.ts';
import { Polling } from '../polling.ts';
import { shopMigrations } from '../shop-migrations.ts';

/** Expand first, contract later: while the new schema and the new data come in, old pods and new ones answer every request. */
const upgradeUnderTraffic: Case = {
  number: 16,
  promise: 'an upgrade with a new migration and new data under traffic fails no request',
  core: false,
  async run(scene) {
    await scene.installLoad(menu(200, '1.00'));
    await scene.installApp({ replicaCount: 2 }, '--wait');
    await using polling = await Polling.start(scene, (products) =>
      products.length === 200 ? undefined : `${products.length} products`,
    );
    await scene.installLoad(menu(200, '2.00'));
    const files = {
      ...(await shopMigrations()),
      '0008_spiciness.sql': 'ALTER TABLE products ADD COLUMN spiciness TINYINT UNSIGNED NULL;\n',
    };
    const migrations = { chartFiles: '', files };
    await scene.installApp({ replicaCount: 2, initContainers: { databaseMigration: { migrations } } }, '--wait');
    const columns =
      "SELECT COUNT(*) FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = DATABASE() AND COLUMN_NAME = 'spiciness'";
    expectThat((await scene.count(columns)) === 1, 'the column is there');
    expectThat(
      (await scene.products()).every(({ price }) => price === '2.00'),
      'the new prices are there',
    );
    await polling.answered(20);
    expectThat(polling.failures.length === 0, 'every answer was right', polling.failures.slice(0, 3));
  },
};
export default upgradeUnderTraffic;
