import { basename } from 'node:path';
import { capture } from '../process.ts';
import { type BenchServer, schemaName } from '../servers.ts';

/**
 * Loads a CSV file of the cache folder by the server's own command-line client and LOAD DATA LOCAL INFILE. The client runs in a
 * container on the host's network, so that its packets go the same way as the loader's: unencrypted TCP to the server's container.
 * @returns the client's time inside its container, from start to end
 */
export async function loadByClient(server: BenchServer, path: string): Promise<number> {
  const { flavour, clientContainer, clientFolder, host, password, port } = server;
  const program = flavour === 'mysql' ? 'mysql --ssl-mode=DISABLED' : 'mariadb --skip-ssl';
  const sql = `LOAD DATA LOCAL INFILE '${clientFolder}/${basename(path)}' INTO TABLE products CHARACTER SET utf8mb4 FIELDS TERMINATED BY ',' OPTIONALLY ENCLOSED BY '"' LINES TERMINATED BY '\\n' IGNORE 1 LINES`;
  const command = `${program} --protocol=TCP -h${host} -P${port} -uroot --local-infile=1 ${schemaName} -e "$SQL"`;
  const out = await capture('docker', [
    ...['exec', '-e', `MYSQL_PWD=${password}`, '-e', `SQL=${sql}`, clientContainer, 'sh', '-ec'],
    `a=$(date +%s%N); ${command}; b=$(date +%s%N); echo $((b - a))`,
  ]);
  return Number(out.trim()) / 1e9;
}
