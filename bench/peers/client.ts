import { basename } from 'node:path';
import { capture } from '../process.ts';
import { type BenchServer, schemaName } from '../servers.ts';

/**
 * Loads a CSV file of the cache folder by the server's own command-line client and LOAD DATA LOCAL INFILE. The client runs in a
 * container on the host's network, so that its packets go the same way as the loader's: unencrypted TCP to the server's container.
 * @returns the client's time inside its container, from start to end
 */
export async function loadByClient(server: BenchServer, path: string): Promise<number> {
  const sql = `LOAD DATA LOCAL INFILE '${server.clientFolder}/${basename(path)}' INTO TABLE products CHARACTER SET utf8mb4 FIELDS TERMINATED BY ',' OPTIONALLY ENCLOSED BY '"' LINES TERMINATED BY '\\n' IGNORE 1 LINES`;
  return await timedInClient(server, `${clientCommand(server)} -e "$SQL"`, { SQL: sql });
}

/**
 * Deletes rows as scripts do: one client and connection, `DELETE … LIMIT n` again and again, each a transaction of its own.
 * @returns the client's time inside its container, from start to end
 */
export async function deleteByClient(
  server: BenchServer,
  table: string,
  where: string,
  { rows, rowsPerDelete }: { readonly rows: number; readonly rowsPerDelete: number },
): Promise<number> {
  const statement = `DELETE FROM ${table} WHERE ${where} LIMIT ${rowsPerDelete};`;
  // The last one finds nothing, by which a script knows that it is done.
  const times = Math.ceil(rows / rowsPerDelete) + 1;
  return await timedInClient(server, `yes "$SQL" | head -n ${times} | ${clientCommand(server)}`, { SQL: statement });
}

function clientCommand({ flavour, host, port }: BenchServer): string {
  const program = flavour === 'mysql' ? 'mysql --ssl-mode=DISABLED' : 'mariadb --skip-ssl';
  return `${program} --protocol=TCP -h${host} -P${port} -uroot --local-infile=1 ${schemaName}`;
}

async function timedInClient(
  { clientContainer, password }: BenchServer,
  command: string,
  variables: Readonly<Record<string, string>>,
): Promise<number> {
  const env = Object.entries({ ...variables, MYSQL_PWD: password }).flatMap(([name, value]) => [
    '-e',
    `${name}=${value}`,
  ]);
  const script = `a=$(date +%s%N); ${command}; b=$(date +%s%N); echo $((b - a))`;
  const out = await capture('docker', ['exec', ...env, clientContainer, 'sh', '-ec', script]);
  return Number(out.trim()) / 1e9;
}
