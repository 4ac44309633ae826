import { once } from 'node:events';
import { createServer, type ServerResponse } from 'node:http';
import mysql from 'mysql2/promise';
import { listProducts, readFreshness } from './catalogue.ts';
import { renderPage } from './page.ts';
import { readSettings } from './settings.ts';

const settings = await readSettings(process.env);
const pool = mysql.createPool({ ...settings.database, charset: 'utf8mb4', timezone: 'Z', connectionLimit: 5 });

const server = createServer(async (request, response) => {
  try {
    await answer(request.method ?? 'GET', new URL(request.url ?? '/', 'http://shop').pathname, response);
  } catch (error) {
    console.error(JSON.stringify({ level: 'error', path: request.url, message: String(error) }));
    sendJson(response, 500, { error: 'the shop has a problem; it was noted' });
  }
});

async function answer(method: string, path: string, response: ServerResponse): Promise<void> {
  if (method !== 'GET' && method !== 'HEAD') {
    response.setHeader('allow', 'GET, HEAD');
    sendJson(response, 405, { error: 'only GET' });
  } else if (path === '/products') {
    const [products, freshness] = await Promise.all([listProducts(pool), readFreshness(pool)]);
    sendJson(response, 200, { freshness, products });
  } else if (path === '/health') {
    await pool.query('SELECT 1');
    sendJson(response, 200, { status: 'ok' });
  } else if (path === '/') {
    const [products, freshness] = await Promise.all([listProducts(pool), readFreshness(pool)]);
    response.writeHead(200, { 'content-type': 'text/html; charset=utf-8' }).end(renderPage(products, freshness));
  } else {
    sendJson(response, 404, { error: 'no such page' });
  }
}

function sendJson(response: ServerResponse, status: number, body: unknown): void {
  response.writeHead(status, { 'content-type': 'application/json; charset=utf-8' }).end(JSON.stringify(body));
}

async function stop(): Promise<void> {
  server.close();
  server.closeIdleConnections();
  await pool.end();
}

process.once('SIGTERM', () => void stop());
process.once('SIGINT', () => void stop());
server.listen(settings.port);
await once(server, 'listening');
const address = server.address();
const port = typeof address === 'object' ? address?.port : address;
console.log(JSON.stringify({ level: 'info', message: 'listening', port }));
