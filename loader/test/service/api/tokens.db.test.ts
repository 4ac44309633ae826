import { createHmac, generateKeyPairSync, randomBytes, sign } from 'node:crypto';
import { expect, test } from 'vitest';
import { describeEachServer } from '../../../../test/servers.ts';
import { csv } from '../../run-loader.ts';
import { type Problem, until } from '../run-service.ts';
import { ApiFolder, allEnded, clientRoles } from './api-kit.ts';

const encoded = (value: unknown) =>
  Buffer.from(typeof value === 'string' ? value : JSON.stringify(value)).toString('base64url');

function hmac(name: 'sha256' | 'sha384' | 'sha512', text: string, key: string): string {
  return createHmac(name, key).update(text).digest('base64url');
}

describeEachServer('tokens of the API', (server) => {
  async function start(more: Readonly<Record<string, string>> = {}) {
    const schema = await server.createSchema();
    await schema.script('CREATE TABLE products (id INT PRIMARY KEY, name VARCHAR(40) NOT NULL)');
    const folder = new ApiFolder(schema, { load: [{ table: 'products', source: 'products.csv' }] });
    folder.folder.write('products.csv', csv(['id', 'name'], [[1, 'apple']]));
    return { schema, folder, api: await folder.ready(more) };
  }

  test('are given for id and secret, as JSON, as a form and by Basic, with the roles of the client and no others', async () => {
    const { schema, folder, api } = await start();
    const answer = await api.askToken('many');
    expect(answer.status).toBe(200);
    expect(answer.headers.get('cache-control')).toBe('no-store');
    expect(answer.body).toMatchObject({ token_type: 'Bearer', expires_in: 900, roles: clientRoles.many });
    const pair = { client_id: 'viewer', client_secret: folder.secrets.viewer };
    const form = new URLSearchParams({ grant_type: 'client_credentials', ...pair });
    expect((await api.service.fetch('/api/v1/auth/token', { method: 'POST', body: form })).status).toBe(200);
    const basic = Buffer.from(`viewer:${folder.secrets.viewer}`).toString('base64');
    const byBasic = { grant_type: 'client_credentials' };
    const headers = { authorization: `Basic ${basic}` };
    expect((await api.service.post('/api/v1/auth/token', byBasic, headers)).status).toBe(200);

    expect((await api.askToken('many', { scope: 'viewer' })).body).toMatchObject({ roles: ['viewer'] });
    for (const scope of ['admin', 'viewer admin', 'table:*', 'table:products']) {
      const refused = await api.askToken('many', { scope });
      expect(refused, scope).toMatchObject({ status: 403, body: { code: 'SERVICE_FORBIDDEN' } });
    }
    // Nothing in the request can name a role but scope, and that only takes away.
    expect((await api.askToken('many', { roles: 'admin' })).status).toBe(400);
    expect((await api.askToken('many', { grant_type: 'password' })).status).toBe(400);
    const entries = await schema.query(
      'SELECT actor, action, subject, details FROM tableset_service_audit ORDER BY id',
    );
    expect(entries.map(({ action }) => action)).toEqual([
      ...['token.issue', 'token.issue', 'token.issue', 'token.issue'],
      ...['token.refuse', 'token.refuse', 'token.refuse', 'token.refuse'],
    ]);
    const everything = `${JSON.stringify(entries)}${api.service.log}`;
    for (const secret of [...Object.values(folder.secrets), folder.signingKey])
      expect(everything).not.toContain(secret);
  });

  test('are not given for a wrong secret, an unknown client or too often', async () => {
    const { api } = await start();
    const wrong = await api.askToken('admin', { client_secret: 'x'.repeat(48) });
    expect(wrong).toMatchObject({ status: 401, body: { code: 'SERVICE_UNAUTHENTICATED' } });
    expect(wrong.headers.get('www-authenticate')).toBe('Bearer');
    const unknown = await api.askToken('admin', { client_id: 'nobody' });
    // Nothing tells whether it was the id or the secret.
    expect({ ...(unknown.body as Problem), instance: '' }).toEqual({ ...(wrong.body as Problem), instance: '' });
    const statuses: number[] = [];
    for (let round = 0; round < 40; round++)
      statuses.push((await api.askToken('admin', { client_secret: 'x' })).status);
    expect(statuses.slice(0, 20).every((status) => status === 401)).toBe(true);
    const limited = await api.askToken('admin');
    expect(limited).toMatchObject({ status: 429, body: { code: 'SERVICE_RATE_LIMITED' } });
    expect(Number(limited.headers.get('retry-after'))).toBeGreaterThan(0);
    // Nobody else is locked out with it.
    expect((await api.askToken('viewer')).status).toBe(200);
  });

  test('section H: a forged, altered, expired or foreign token opens nothing', async () => {
    const { folder, api } = await start({ JWT_LIFETIME_SECONDS: '60' });
    const good = await api.token('admin');
    const [header = '', payload = '', signature = ''] = good.split('.');
    expect((await api.get('admin', '/api/v1/runs')).status).toBe(200);
    const claims = JSON.parse(Buffer.from(payload, 'base64url').toString()) as Record<string, unknown>;
    const standard = JSON.parse(Buffer.from(header, 'base64url').toString()) as Record<string, unknown>;
    expect(standard).toEqual({ alg: 'HS256', typ: 'at+jwt' });
    const signed = (
      head: Record<string, unknown>,
      body: Record<string, unknown>,
      key = folder.signingKey,
      digest: 'sha256' | 'sha384' | 'sha512' = 'sha256',
    ) => {
      const text = `${encoded(head)}.${encoded(body)}`;
      return `${text}.${hmac(digest, text, key)}`;
    };
    // The way it is forged is right: with the key and the claims of a good one it opens.
    const opens = async (token: string) =>
      (await api.service.get('/api/v1/runs', { authorization: `Bearer ${token}` })).status;
    expect(await opens(signed(standard, claims))).toBe(200);
    const now = Math.floor(Date.now() / 1000);
    const { privateKey, publicKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
    const rsaText = `${encoded({ alg: 'RS256', typ: 'at+jwt' })}.${payload}`;
    const jwk = publicKey.export({ format: 'jwk' });
    const without = (name: string) => Object.fromEntries(Object.entries(claims).filter(([key]) => key !== name));
    const forged: Record<string, string> = {
      'no signature': `${header}.${payload}.`,
      'alg none': `${encoded({ alg: 'none', typ: 'at+jwt' })}.${payload}.`,
      'alg None, signed': signed({ alg: 'None', typ: 'at+jwt' }, claims),
      'alg HS384': signed({ ...standard, alg: 'HS384' }, claims, folder.signingKey, 'sha384'),
      'alg HS512': signed({ ...standard, alg: 'HS512' }, claims, folder.signingKey, 'sha512'),
      'alg RS256': `${rsaText}.${sign('sha256', Buffer.from(rsaText), privateKey).toString('base64url')}`,
      'no alg': signed({ typ: 'at+jwt' }, claims),
      'another type': signed({ ...standard, typ: 'JWT' }, claims),
      'an embedded key': signed({ ...standard, jwk }, claims, 'x'.repeat(48)),
      'an embedded secret': signed(
        { ...standard, jwk: { kty: 'oct', k: encoded('x'.repeat(48)) } },
        claims,
        'x'.repeat(48),
      ),
      'a key by address': signed({ ...standard, jku: `${api.service.origin}/openapi.json` }, claims, 'x'.repeat(48)),
      'a key by certificate': signed({ ...standard, x5u: api.service.origin, x5c: ['AA=='] }, claims, 'x'.repeat(48)),
      'a key by path': signed({ ...standard, kid: '/dev/null' }, claims, ''),
      'an unknown critical header': signed({ ...standard, crit: ['b64'], b64: false }, claims),
      'an empty key': signed(standard, claims, ''),
      'another key': signed(standard, claims, randomBytes(48).toString('base64')),
      'more roles under the old signature': `${header}.${encoded({ ...claims, roles: ['admin', 'table:*'] })}.${signature}`,
      'the last character of the signature': `${good.slice(0, -2)}${good.endsWith('AA') ? 'BB' : 'AA'}`,
      expired: signed(standard, { ...claims, exp: now - 60 }),
      'not yet': signed(standard, { ...claims, nbf: now + 600 }),
      'no end': signed(standard, without('exp')),
      'no beginning': signed(standard, without('nbf')),
      'no subject': signed(standard, without('sub')),
      'no roles': signed(standard, without('roles')),
      'roles that are no list': signed(standard, { ...claims, roles: 'admin' }),
      'another audience': signed(standard, { ...claims, aud: '127.0.0.1:3306/elsewhere' }),
      'no audience': signed(standard, without('aud')),
      'another issuer': signed(standard, { ...claims, iss: 'somebody' }),
      'a client that is none': signed(standard, { ...claims, sub: 'nobody' }),
      'the trigger itself': signed(standard, { ...claims, sub: 'trigger' }),
      'one part': header,
      'five parts': `${good}.a.b`,
      'no JSON': `${encoded('{')}.${payload}.${signature}`,
      'too long': `${good}${'A'.repeat(10_000)}`,
    };
    for (const [what, token] of Object.entries(forged)) expect(await opens(token), what).toBe(401);
    for (const authorization of ['', 'Bearer', 'Bearer ', `Basic ${good}`, `bearer  ${good}`, good, `Bearer ${good} x`])
      expect((await api.service.get('/api/v1/runs', { authorization })).status, authorization).toBe(401);
    expect((await api.service.get(`/api/v1/runs?access_token=${good}`)).status).toBe(401);
    expect(
      (await api.service.get('/api/v1/runs', { cookie: `token=${good}`, 'x-forwarded-user': 'admin' })).status,
    ).toBe(401);
    // A token that says more roles than its client has gives no more than the client has.
    const viewer = JSON.parse(
      Buffer.from((await api.token('viewer')).split('.')[1] ?? '', 'base64url').toString(),
    ) as Record<string, unknown>;
    const raised = signed(standard, { ...viewer, roles: ['viewer', 'admin'] });
    expect((await api.service.get('/api/v1/audit', { authorization: `Bearer ${raised}` })).status).toBe(403);
    expect(await opens(raised)).toBe(200);
  });

  test('end with their client: a role that is taken away, and a client, are gone without a restart', async () => {
    const { folder, api } = await start();
    expect((await api.get('admin', '/api/v1/audit')).status).toBe(200);
    folder.writeClients({ ...clientRoles, admin: ['viewer'] });
    await until('the role is gone', async () => (await api.get('admin', '/api/v1/audit')).status === 403);
    const { admin: _, ...others } = clientRoles;
    folder.writeClients(others);
    await until('the client is gone', async () => (await api.get('admin', '/api/v1/runs')).status === 401);
    // What cannot be used is not taken, and told of.
    folder.folder.write('clients.yaml', '{clients: [{id: admin, roles: [admin]}]}');
    await until('it is told', async () => {
      await api.get('viewer', '/api/v1/runs');
      return api.service.log.includes('a mounted secret has changed and is not taken');
    });
    expect((await api.get('viewer', '/api/v1/runs')).status).toBe(200);
    // A new signing key ends all tokens.
    folder.folder.write('jwt.key', randomBytes(48).toString('base64'));
    await until('old tokens are worth nothing', async () => (await api.get('viewer', '/api/v1/runs')).status === 401);
  });

  test('the trigger token and tokens do not stand for each other', async () => {
    const schema = await server.createSchema();
    await schema.script('CREATE TABLE products (id INT PRIMARY KEY)');
    const folder = new ApiFolder(schema, { load: [{ table: 'products', source: 'products.csv' }] });
    folder.folder.write('products.csv', csv(['id'], [[1]]));
    folder.folder.write('trigger', 'a-token-of-the-trigger');
    const api = await folder.ready({ TRIGGER_TOKEN_FILE: `${folder.folder.path}/trigger` });
    const by = async (token: string, path: string, body?: unknown) => {
      const authorization = `Bearer ${token}`;
      const answer =
        body === undefined
          ? await api.service.get(path, { authorization })
          : await api.service.post(path, body, { authorization });
      return answer.status;
    };
    expect(await by('a-token-of-the-trigger', '/trigger', { task: 'load' })).toBe(202);
    expect(await by('a-token-of-the-trigger', '/api/v1/runs')).toBe(403);
    expect(await by('a-token-of-the-trigger', '/api/v1/runs', { task: 'load' })).toBe(403);
    expect(await by(await api.token('operator'), '/trigger', { task: 'load' })).toBe(202);
    expect(await by(await api.token('viewer'), '/trigger', { task: 'load' })).toBe(403);
    expect((await api.service.post('/trigger', { task: 'load' })).status).toBe(401);
    await allEnded(schema);
  });

  test('the API is off without its key, and a start with unusable secrets is refused', async () => {
    const schema = await server.createSchema();
    const folder = new ApiFolder(schema, { load: [{ table: 'products', source: 'products.csv' }] });
    const service = await folder.folder.ready();
    for (const [method, path] of [
      ['GET', '/api/v1/runs'],
      ['POST', '/api/v1/auth/token'],
    ] as const) {
      const body = JSON.stringify({ grant_type: 'client_credentials', client_id: 'a', client_secret: 'b' });
      const headers = { 'content-type': 'application/json' };
      const answer = await service.fetch(path, { method, ...(method === 'POST' ? { body, headers } : {}) });
      expect(answer, path).toMatchObject({ status: 503, body: { code: 'SERVICE_API_OFF' } });
    }
    const environment = folder.environment();
    const refused = async (name: string, content: string, code: string) => {
      folder.folder.write('bad', content);
      await expect(folder.folder.start({ ...environment, [name]: `${folder.folder.path}/bad` })).rejects.toThrow(code);
    };
    await refused('JWT_SECRET_KEY_FILE', 'short', 'SETTING_INVALID');
    await refused('API_CLIENTS_FILE', 'clients: [{id: a, secret: short, roles: [admin]}]', 'CONFIG_INVALID');
    await refused(
      'API_CLIENTS_FILE',
      `clients: [{id: trigger, secret: ${'s'.repeat(32)}, roles: [admin]}]`,
      'CONFIG_INVALID',
    );
    await refused('API_CLIENTS_FILE', `clients: [{id: a, secret: ${'s'.repeat(32)}, roles: [root]}]`, 'CONFIG_INVALID');
    await refused('ENCRYPTION_KEY_FILE', 'a:short', 'SETTING_INVALID');
    const { API_CLIENTS_FILE: _, ...noClients } = environment;
    await expect(folder.folder.start(noClients)).rejects.toThrow('SETTING_MISSING');
  });
});
