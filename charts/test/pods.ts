import { isRecord, type Manifest, valueAt } from './render.ts';

/** A pod spec and the labels that its pods get. */
export interface Pod {
  readonly owner: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly spec: Readonly<Record<string, unknown>>;
}

/** The pods of everything that makes some. */
export function podsOf(manifests: readonly Manifest[]): readonly Pod[] {
  return manifests.flatMap((manifest) => {
    const kind = String(manifest['kind']);
    const at = kind === 'Pod' ? '' : kind === 'CronJob' ? 'spec.jobTemplate.spec.template.' : 'spec.template.';
    const spec = valueAt(manifest, `${at}spec`);
    if (!isRecord(spec) || !(Array.isArray(spec['containers']) || Array.isArray(spec['initContainers']))) return [];
    // Labels are texts, or the API server refuses them.
    const labels = valueAt(manifest, `${at}metadata.labels`) as Record<string, string>;
    return [{ owner: `${kind} ${valueAt(manifest, 'metadata.name')}`, labels, spec }];
  });
}

/** What `pod-security.kubernetes.io/enforce: restricted` would say against the pod; empty when it would let it in. */
export function restrictedFaults(pod: Pod): readonly string[] {
  const faults: string[] = [];
  const say = (fault: string) => faults.push(`${pod.owner}: ${fault}`);
  for (const field of ['hostNetwork', 'hostPID', 'hostIPC']) if (pod.spec[field] === true) say(field);
  const allowed = [
    'name',
    'configMap',
    'csi',
    'downwardAPI',
    'emptyDir',
    'ephemeral',
    'persistentVolumeClaim',
    'projected',
    'secret',
  ];
  for (const volume of list(pod.spec['volumes'])) {
    for (const key of Object.keys(volume)) if (!allowed.includes(key)) say(`volume ${volume['name']} is a ${key}`);
  }
  const containers = [...list(pod.spec['initContainers']), ...list(pod.spec['containers'])];
  if (containers.length === 0) say('no containers');
  for (const container of containers) {
    const name = `container ${container['name']}`;
    const own = (path: string) => valueAt(container, `securityContext.${path}`);
    const inherited = (path: string) => own(path) ?? valueAt(pod.spec, `securityContext.${path}`);
    if (own('allowPrivilegeEscalation') !== false) say(`${name} may gain privileges`);
    if (JSON.stringify(own('capabilities')) !== '{"drop":["ALL"]}') say(`${name} keeps capabilities`);
    if (own('privileged') === true) say(`${name} is privileged`);
    if (inherited('runAsNonRoot') !== true) say(`${name} may run as root`);
    if (inherited('runAsUser') === 0) say(`${name} runs as root`);
    if (inherited('seccompProfile.type') !== 'RuntimeDefault') say(`${name} has no seccomp profile`);
    if (own('readOnlyRootFilesystem') !== true) say(`${name} can write to its root file system`);
    for (const port of list(container['ports'])) if (port['hostPort'] !== undefined) say(`${name} has a host port`);
  }
  return faults;
}

function list(value: unknown): readonly Readonly<Record<string, unknown>>[] {
  return Array.isArray(value) ? value.filter(isRecord) : [];
}
