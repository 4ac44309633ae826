import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { readTemplate, workerJob } from '../../../src/service/job/template.ts';
import { template } from './fake-cluster.ts';

const read = (job: object, image?: string) => readTemplate(JSON.stringify(job), 'template.json', image, 600);
const pod = template.spec.template.spec;
const withContainer = (container: object, more: object = {}) => ({
  ...template,
  spec: {
    ...template.spec,
    template: { spec: { ...pod, containers: [{ ...pod.containers[0], ...container }], ...more } },
  },
});

test('a Job is its template, and two numbers', () => {
  const made = JSON.stringify(workerJob(read(template), { id: '12', token: '7' }));
  const expected = structuredClone<Record<string, unknown>>({ ...template });
  const own = JSON.parse(JSON.stringify(expected));
  const labels = { 'tableset/run': '12', 'tableset/token': '7' };
  own.metadata = { name: 'loads-run-12-7', labels: { ...own.metadata.labels, ...labels } };
  own.spec.activeDeadlineSeconds = 900;
  own.spec.template.metadata.labels = { ...own.spec.template.metadata.labels, ...labels };
  own.spec.template.spec.containers[0].args = ['work', '--run', '12', '--token', '7'];
  expect(JSON.parse(made)).toEqual(own);
});

test('WORKER_IMAGE goes before the image of the template', () => {
  const job = workerJob(read(template, 'mirror/database-load:2'), { id: '1', token: '1' });
  expect(job.spec?.template.spec?.containers[0]?.image).toBe('mirror/database-load:2');
  expect(() => read(withContainer({ image: undefined }))).toThrow('WORKER_IMAGE is not set');
});

test('nothing but numbers gets into a Job', () => {
  const made = read(template);
  expect(() => workerJob(made, { id: '1; --x', token: '1' })).toThrow('are numbers');
  expect(() => workerJob(made, { id: '1', token: '--config=/x' })).toThrow('are numbers');
});

test.each([
  ['it is no Job', { kind: 'Pod', apiVersion: 'v1' }, 'no Job of batch/v1'],
  ['its name is too long', { ...template, metadata: { name: 'a'.repeat(41) } }, 'at most 40'],
  ['its container has words of its own', withContainer({ args: ['purge'] }), 'neither args nor command'],
  ['its container has another name', withContainer({ name: 'x' }), 'named database-load'],
  ['it has two containers', withContainer({}, { containers: [...pod.containers, { name: 'x' }] }), 'one container'],
  ['Kubernetes would try again', { ...template, spec: { ...template.spec, backoffLimit: 6 } }, 'backoffLimit 0'],
  ['the kubelet would try again', withContainer({}, { restartPolicy: 'OnFailure' }), 'restartPolicy Never'],
])('a template is refused because %s', (_why, job, message) => {
  expect(() => read(job)).toThrow(message);
});

test('a template that is neither JSON nor YAML is refused by its path', () => {
  expect(() => readTemplate('{', 'x/template.json', undefined, 1)).toThrow('x/template.json is neither JSON nor YAML');
});

test('the program never loads the client of Kubernetes where it is not used', () => {
  const folder = new URL('../../../src/service/job/', import.meta.url);
  for (const name of ['cluster', 'job-run', 'job-runner', 'lease-leadership', 'template', 'worker', 'open-job']) {
    const source = readFileSync(new URL(`${name}.ts`, folder), 'utf8');
    expect(source.match(/^import (?!type\b).*@kubernetes/gm), name).toBeNull();
  }
});
