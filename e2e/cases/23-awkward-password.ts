import type { Case } from '../case.ts';
import { expectThat } from '../command.ts';

const password = ' p"a\'s`s$(w)o\\r\\n%d{{x}}<&>;:@/?#=+,*!|~^[]\té漢🙂 ';

/** Whatever a generator puts into a password arrives as it is. */
const awkwardPassword: Case = {
  number: 23,
  promise: 'a password with every awkward character works in every container',
  core: false,
  async run(scene) {
    const quoted = password.replaceAll('\\', '\\\\').replaceAll("'", "''");
    await scene.sql(`SET NAMES utf8mb4; ALTER USER '${scene.schema}'@'%' IDENTIFIED BY '${quoted}';`);
    await scene.apply({ apiVersion: 'v1', kind: 'Secret', metadata: { name: 'database' }, stringData: { password } });
    await scene.installLoad();
    await scene.installApp({}, '--wait');
    expectThat((await scene.jobEnd(await scene.runNow('by-hand'))) === 'Complete', 'the CronJob’s container logs in');
    expectThat((await scene.products()).length > 0, 'the app logs in');
  },
};
export default awkwardPassword;
