import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import type { TestSchema, TestServer } from '../../../../test/servers.ts';
import { type Answer, type Service, ServiceFolder, until } from '../run-service.ts';

/** Clients of every kind, and what each may. */
export const clientRoles = {
  admin: ['admin'],
  operator: ['operator'],
  viewer: ['viewer'],
  'orders-reader': ['table:orders'],
  'all-reader': ['table:*'],
  many: ['viewer', 'table:orders'],
} as const;
export type ClientId = keyof typeof clientRoles;

/** A service whose API is on, with its secrets in files. */
export class ApiFolder {
  readonly folder: ServiceFolder;
  readonly signingKey = randomBytes(48).toString('base64');
  readonly secrets: Readonly<Record<ClientId, string>>;
  readonly encryptionKeys = [keyLine('2026-01')];

  constructor(schema: Pick<TestSchema, 'environment'>, sections: Readonly<Record<string, unknown>>) {
    this.folder = new ServiceFolder(schema, sections);
    // Every client has a secret of its own.
    this.secrets = Object.fromEntries(
      Object.keys(clientRoles).map((id) => [id, randomBytes(24).toString('hex')]),
    ) as Record<ClientId, string>;
    this.folder.write('jwt.key', `${this.signingKey}\n`);
    this.folder.write('encryption.keys', `${this.encryptionKeys.join('\n')}\n`);
    this.writeClients(clientRoles);
  }

  writeClients(roles: Readonly<Record<string, readonly string[]>>): void {
    const clients = Object.entries(roles).map(([id, each]) => ({
      id,
      secret: this.secrets[id as ClientId],
      roles: each,
    }));
    this.folder.write('clients.yaml', JSON.stringify({ clients }));
  }

  environment(more: Readonly<Record<string, string>> = {}): Readonly<Record<string, string>> {
    const file = (name: string) => join(this.folder.path, name);
    return {
      JWT_SECRET_KEY_FILE: file('jwt.key'),
      API_CLIENTS_FILE: file('clients.yaml'),
      ENCRYPTION_KEY_FILE: file('encryption.keys'),
      RATE_LIMIT_PER_MINUTE: '100000',
      ...more,
    };
  }

  async ready(more: Readonly<Record<string, string>> = {}): Promise<Api> {
    return new Api(await this.folder.ready(this.environment(more)), this);
  }
}

/** The API as its clients use it. */
export class Api {
  readonly service: Service;
  readonly #folder: ApiFolder;
  readonly #tokens = new Map<ClientId, string>();

  constructor(service: Service, folder: ApiFolder) {
    this.service = service;
    this.#folder = folder;
  }

  async askToken(client: ClientId, more: Readonly<Record<string, string>> = {}): Promise<Answer> {
    const body = { grant_type: 'client_credentials', client_id: client, client_secret: this.#folder.secrets[client] };
    return await this.service.post('/api/v1/auth/token', { ...body, ...more });
  }

  /** A token that is asked for once. */
  async token(client: ClientId): Promise<string> {
    const known = this.#tokens.get(client);
    if (known !== undefined) return known;
    const answer = await this.askToken(client);
    if (answer.status !== 200) throw new Error(`no token for ${client}: ${JSON.stringify(answer.body)}`);
    const { access_token: token } = answer.body as { access_token: string };
    this.#tokens.set(client, token);
    return token;
  }

  async request(
    client: ClientId,
    method: string,
    path: string,
    body?: unknown,
    headers: Readonly<Record<string, string>> = {},
  ): Promise<Answer> {
    const json = body === undefined ? {} : { 'content-type': 'application/json' };
    return await this.service.fetch(path, {
      method,
      headers: { authorization: `Bearer ${await this.token(client)}`, ...json, ...headers },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
  }

  async get(client: ClientId, path: string): Promise<Answer> {
    return await this.request(client, 'GET', path);
  }
}

export function keyLine(id: string): string {
  return `${id}:${randomBytes(32).toString('base64')}`;
}

/** Orders with items, some of them old, and a schema on the same server that they are archived to. */
export async function orderShop(
  server: TestServer,
): Promise<{ readonly schema: TestSchema; readonly archive: TestSchema }> {
  const schema = await server.createSchema();
  await schema.script(`
    CREATE TABLE orders (id BIGINT PRIMARY KEY, status VARCHAR(20) NOT NULL, total DECIMAL(10,2) NOT NULL, note TEXT NULL, photo VARBINARY(20) NULL,
      created_at DATETIME(3) NOT NULL, KEY created_at (created_at)) ENGINE=InnoDB;
    CREATE TABLE order_items (order_id BIGINT NOT NULL, line INT NOT NULL, product VARCHAR(20) NOT NULL, PRIMARY KEY (order_id, line),
      FOREIGN KEY (order_id) REFERENCES orders (id)) ENGINE=InnoDB;
    INSERT INTO orders VALUES (1, 'paid', 10.50, NULL, X'00FF', '2020-01-01'), (2, 'open', 9.99, 'née Ω 🍏', NULL, '2020-01-02'),
      (3, 'paid', 100.00, '', X'', '2020-01-03'), (10, 'paid', 7.00, 'a"b', NULL, '2020-01-04'), (11, 'void', 0.00, NULL, NULL, UTC_TIMESTAMP(3)),
      (12, 'paid', 5.00, NULL, NULL, UTC_TIMESTAMP(3));
    INSERT INTO order_items VALUES (1, 1, 'apple'), (1, 2, 'pear'), (2, 1, 'plum'), (11, 1, 'fig'), (12, 1, 'kiwi')`);
  const archive = await server.createSchema();
  await server.query(`GRANT ALL PRIVILEGES ON ${archive.name}.* TO ${schema.user}@'%'`);
  return { schema, archive };
}

export const orderEntry = {
  table: 'orders',
  dateColumn: 'created_at',
  archiveAfterDays: 30,
  deleteAfterDays: 36_500,
  store: 'cold',
  children: ['order_items'],
} as const;

/** Waits until nothing runs: a service that is killed while it loads leaves its staging table to the next run. */
export async function allEnded(schema: TestSchema): Promise<void> {
  await until('all runs have ended', async () => {
    const open = await schema.query("SELECT id FROM tableset_service_runs WHERE state IN ('queued', 'running')");
    return open.length === 0;
  });
}
