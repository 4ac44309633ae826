import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { findHelm } from '../../tools/programs/helm.ts';
import type { Case } from '../case.ts';
import { imageTag } from '../cluster.ts';
import { attempt, expectThat } from '../command.ts';

const script = join(import.meta.dirname, '..', '..', 'deploy.sh');

/** deploy.sh from the first dry run to the last uninstall, twice over, and once with a database that refuses the password. */
const deployScript: Case = {
  number: 26,
  promise: 'deploy.sh checks, deploys, runs, tells what failed and why, and takes down',
  core: false,
  async run(scene) {
    const folder = await mkdtemp(join(tmpdir(), 'tableset-deploy-'));
    const env = { ...process.env, PATH: `${dirname(await findHelm())}:${process.env['PATH']}` };
    const values = join(folder, 'values.yaml');
    const options = ['--context', scene.context, '--namespace', scene.namespace, '--timeout', '300s'];
    // Of two timeouts the last one counts.
    const deploy = (verb: string, ...args: readonly string[]) => attempt(script, [verb, ...options, ...args], { env });
    const install = ['--tag', imageTag, '--values', values];
    try {
      await writeFile(values, JSON.stringify({ database: scene.database(), image: { pullPolicy: 'Never' } }));
      const dry = await deploy('deploy', ...install, '--dry-run');
      expectThat(dry.code === 0 && dry.stdout.includes('(server dry run)'), 'the API server takes it all', dry);
      expectThat((await scene.kubectl('get', 'deployments', '-o', 'name')) === '', 'a dry run makes nothing');
      for (const time of ['first', 'second']) {
        const { code, stdout, stderr } = await deploy('deploy', ...install);
        expectThat(code === 0 && stdout.includes('The shop is up'), `the ${time} deploy succeeds`, stderr);
      }
      for (const verb of ['status', 'run-now', 'logs']) {
        const result = await deploy(verb);
        expectThat(result.code === 0, `${verb} works`, result);
      }
      const wrong = { ...scene.database(), user: 'nobody' };
      await writeFile(values, JSON.stringify({ database: wrong, image: { pullPolicy: 'Never' } }));
      const failed = await deploy('deploy', ...install, '--timeout', '60s');
      expectThat(failed.code === 1, 'a deploy that cannot log in fails', failed);
      expectThat(
        /container database-migration ended with exit code \d/.test(failed.stderr),
        'it says which container',
        failed.stderr,
      );
      expectThat(
        failed.stderr.includes('nobody') && failed.stderr.includes('remedy:'),
        'it says why, and what helps',
        failed.stderr,
      );
      expectThat((await deploy('down')).code === 0, 'down works');
      expectThat((await scene.kubectl('get', 'deployments,cronjobs', '-o', 'name')) === '', 'nothing is left');
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  },
};
export default deployScript;
