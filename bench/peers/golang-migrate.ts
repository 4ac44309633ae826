import { existsSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { cacheFolder } from '../data.ts';
import { timed } from '../process.ts';

const version = 'v4.18.3';

/** Builds golang-migrate with its MySQL driver into the cache folder, unless it is there; null where there is no Go. */
export async function golangMigrate(): Promise<string | null> {
  const folder = join(cacheFolder, `golang-migrate-${version}`);
  const program = join(folder, 'migrate');
  if (existsSync(program)) return program;
  await mkdir(folder, { recursive: true });
  try {
    const module = `github.com/golang-migrate/migrate/v4/cmd/migrate@${version}`;
    const { GOPROXY, GOFLAGS } = process.env;
    await timed('go', ['install', '-tags', 'mysql', module], {
      GOBIN: folder,
      CGO_ENABLED: '0',
      ...(GOPROXY ? { GOPROXY } : {}),
      ...(GOFLAGS ? { GOFLAGS } : {}),
    });
    return program;
  } catch (error) {
    console.error(`golang-migrate is not measured: ${error instanceof Error ? error.message : error}`);
    return null;
  }
}
