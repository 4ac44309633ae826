import { findHelm } from '../../tools/programs/helm.ts';
import type { Case } from '../case.ts';
import { command, expectThat } from '../command.ts';

/** An empty database, two `helm install`s, and the shop serves its products: schema first, data second, app third. */
const freshInstall: Case = {
  number: 1,
  promise: 'a fresh install serves products, with --wait and with the flag that undoes a failed one',
  core: true,
  async run(scene) {
    await scene.installLoad();
    await scene.installApp({}, '--wait');
    const offered = await scene.count('SELECT COUNT(*) FROM products WHERE available');
    expectThat(offered > 30 && (await scene.products()).length === offered, 'the shop lists its products', offered);
    const applied = await scene.count("SELECT COUNT(*) FROM tableset_migrations WHERE state = 'applied'");
    expectThat(applied === 7, 'seven migrations are applied', applied);

    await scene.uninstall('order-food');
    await scene.sql(`DROP DATABASE ${scene.schema}; CREATE DATABASE ${scene.schema};`);
    const version = await command(await findHelm(), ['version', '--short']);
    await scene.installApp({}, version.startsWith('v3') ? '--atomic' : '--rollback-on-failure', '--wait');
    expectThat((await scene.products()).length === offered, 'the shop lists its products again');
  },
};
export default freshInstall;
