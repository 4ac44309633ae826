/** What a value must bring about in the render. */
export interface Effect {
  readonly set: unknown;
  /** Other values that it needs. */
  readonly with?: Readonly<Record<string, unknown>>;
  /** Where it shows: kind, optionally /name, then a space and the path in the object. */
  readonly at: string;
  readonly is: unknown;
}

export const security = { runAsUser: 1000, readOnlyRootFilesystem: true };
export const resources = { limits: { memory: '3Gi' } };
export const volume = { name: 'mine', emptyDir: {} };
export const mount = { name: 'mine', mountPath: '/mine' };
const digest = `sha256:${'a'.repeat(64)}`;

/** Values of one database that show in the container at `at`, whose volumes begin with `prefix`. */
export function databaseEffects(at: string, pod: string, prefix: string): Record<string, Effect> {
  return {
    'database.host': { set: 'db', at: `${at}.env[DB_HOST].value`, is: 'db' },
    'database.port': { set: 3307, at: `${at}.env[DB_PORT].value`, is: '3307' },
    'database.name': { set: 'shop', at: `${at}.env[DB_NAME].value`, is: 'shop' },
    'database.user': { set: 'ada', at: `${at}.env[DB_USER].value`, is: 'ada' },
    'database.existingSecret': {
      set: 'login',
      at: `${pod}.volumes[${prefix}-password].secret.secretName`,
      is: 'login',
    },
    'database.passwordKey': {
      set: 'pw',
      at: `${pod}.volumes[${prefix}-password].secret.items`,
      is: [{ key: 'pw', path: 'password' }],
    },
    'database.userKey': {
      set: 'login',
      at: `${at}.env[DB_USER].valueFrom.secretKeyRef`,
      is: { name: 'demo-mysql', key: 'login' },
    },
    'database.tls': { set: 'require', at: `${at}.env[DB_TLS].value`, is: 'require' },
    'database.tlsCaSecret': {
      set: 'ca',
      with: { database: { tls: 'verify' } },
      at: `${pod}.volumes[${prefix}-ca].secret.secretName`,
      is: 'ca',
    },
    'database.tlsCaKey': {
      set: 'root.pem',
      with: { database: { tls: 'verify', tlsCaSecret: 'ca' } },
      at: `${pod}.volumes[${prefix}-ca].secret.items`,
      is: [{ key: 'root.pem', path: 'ca.crt' }],
    },
    'database.waitSeconds': { set: 7, at: `${at}.env[DB_WAIT_SECONDS].value`, is: '7' },
    'database.singleWriter': { set: true, at: `${at}.env[DB_SINGLE_WRITER].value`, is: 'true' },
  };
}

/** What both init containers have, below `values` in the values and at `at` in the pod. */
export function runEffects(values: string, at: string, pod: string): Record<string, Effect> {
  const key = (name: string) => (values === '' ? name : `${values}.${name}`);
  return {
    [key('onBusy')]: { set: 'fail', at: `${at}.env[ON_BUSY].value`, is: 'fail' },
    [key('lockWaitSeconds')]: { set: 5, at: `${at}.env[LOCK_WAIT_SECONDS].value`, is: '5' },
    [key('logLevel')]: { set: 'debug', at: `${at}.env[LOG_LEVEL].value`, is: 'debug' },
    [key('extraArgs')]: { set: ['--x'], at: `${at}.args[1]`, is: '--x' },
    [key('extraEnv')]: { set: [{ name: 'X', value: 'y' }], at: `${at}.env[X].value`, is: 'y' },
    [key('extraEnvFrom')]: {
      set: [{ secretRef: { name: 's' } }],
      at: `${at}.envFrom`,
      is: [{ secretRef: { name: 's' } }],
    },
    [key('extraVolumes')]: { set: [volume], at: `${pod}.volumes[mine]`, is: volume },
    [key('extraVolumeMounts')]: { set: [mount], at: `${at}.volumeMounts[/mine]`, is: mount },
    [key('resources')]: { set: resources, at: `${at}.resources.limits.memory`, is: '3Gi' },
    [key('securityContext')]: { set: security, at: `${at}.securityContext.runAsUser`, is: 1000 },
  };
}

/** What a database-load container has, below `values` in the values and at `at` in the pod. */
export function loadEffects(values: string, at: string, pod: string, configMap: string): Record<string, Effect> {
  const key = (name: string) => (values === '' ? name : `${values}.${name}`);
  const config = { load: [{ table: 'products', source: 'products.csv' }] };
  const own = values === '' ? { config } : { initContainers: { databaseLoad: { config, existingConfigMap: '' } } };
  const unset = values === '' ? {} : { initContainers: { databaseLoad: { existingConfigMap: '' } } };
  return {
    [key('config')]: {
      set: config,
      with: unset,
      at: `ConfigMap/${configMap} data[config.yaml]`,
      is: 'load:\n- source: products.csv\n  table: products\n',
    },
    [key('files')]: { set: { 'p.csv': 'id\n1\n' }, with: own, at: `ConfigMap/${configMap} data[p.csv]`, is: 'id\n1\n' },
    [key('binaryFiles')]: {
      set: { 'p.gz': 'AAE=' },
      with: own,
      at: `ConfigMap/${configMap} binaryData[p.gz]`,
      is: 'AAE=',
    },
    [key('existingConfigMap')]: {
      set: 'theirs',
      at: `${pod}.volumes[database-load-config].configMap.name`,
      is: 'theirs',
    },
    [key('ifChanged')]: {
      set: values === '',
      at: `${at}.env[LOAD_IF_CHANGED].value`,
      is: String(values === ''),
    },
    [key('tables')]: { set: ['products'], at: `${at}.args[1]`, is: '--table=products' },
    [key('temporarySizeLimit')]: {
      set: '2Gi',
      at: `${pod}.volumes[database-load-tmp].emptyDir.sizeLimit`,
      is: '2Gi',
    },
    ...runEffects(values, at, pod),
  };
}

/** The five values of one image. */
export function imageEffects(values: string, at: string, name: string): Record<string, Effect> {
  return {
    [`${values}.registry`]: { set: 'ghcr.io/x', at: `${at}.image`, is: `ghcr.io/x/${name}:latest` },
    [`${values}.repository`]: { set: 'mine', at: `${at}.image`, is: 'mine:latest' },
    [`${values}.tag`]: { set: 'v1', at: `${at}.image`, is: `${name}:v1` },
    [`${values}.digest`]: { set: digest, at: `${at}.image`, is: `${name}@${digest}` },
    [`${values}.pullPolicy`]: { set: 'Never', at: `${at}.imagePullPolicy`, is: 'Never' },
  };
}

/** What pods and objects of both charts have; `kind` is the workload's. */
export function podEffects(kind: string, pod: string): Record<string, Effect> {
  const taint = [{ key: 'a', operator: 'Exists' }];
  const affinity = { nodeAffinity: {} };
  return {
    nameOverride: { set: 'other', at: `${kind} metadata.labels[app.kubernetes.io/name]`, is: 'other' },
    fullnameOverride: { set: 'other', at: `${kind} metadata.name`, is: 'other' },
    commonLabels: { set: { team: 'food' }, at: `${kind} metadata.labels.team`, is: 'food' },
    imagePullSecrets: { set: ['pull'], at: `${pod}.imagePullSecrets`, is: [{ name: 'pull' }] },
    'serviceAccount.create': { set: false, at: `${pod}.serviceAccountName`, is: 'default' },
    'serviceAccount.name': { set: 'robot', at: 'ServiceAccount metadata.name', is: 'robot' },
    'serviceAccount.annotations': { set: { a: 'b' }, at: 'ServiceAccount metadata.annotations.a', is: 'b' },
    terminationGracePeriodSeconds: { set: 5, at: `${pod}.terminationGracePeriodSeconds`, is: 5 },
    podSecurityContext: { set: { fsGroup: 7 }, at: `${pod}.securityContext.fsGroup`, is: 7 },
    podLabels: { set: { a: 'b' }, at: `${pod.replace(/spec$/, 'metadata')}.labels.a`, is: 'b' },
    podAnnotations: { set: { a: 'b' }, at: `${pod.replace(/spec$/, 'metadata')}.annotations.a`, is: 'b' },
    nodeSelector: { set: { a: 'b' }, at: `${pod}.nodeSelector.a`, is: 'b' },
    tolerations: { set: taint, at: `${pod}.tolerations`, is: taint },
    affinity: { set: affinity, at: `${pod}.affinity`, is: affinity },
    priorityClassName: { set: 'high', at: `${pod}.priorityClassName`, is: 'high' },
  };
}

/** An account of its own for the container at `at`. */
export function accountEffects(values: string, at: string, pod: string, prefix: string): Record<string, Effect> {
  const password = `${pod}.volumes[${prefix}-password].secret`;
  return {
    [`${values}.database.user`]: { set: 'own', at: `${at}.env[DB_USER].value`, is: 'own' },
    [`${values}.database.existingSecret`]: { set: 'own', at: `${password}.secretName`, is: 'own' },
    [`${values}.database.passwordKey`]: { set: 'own', at: `${password}.items[0].key`, is: 'own' },
    [`${values}.database.userKey`]: { set: 'own', at: `${at}.env[DB_USER].valueFrom.secretKeyRef.key`, is: 'own' },
  };
}
