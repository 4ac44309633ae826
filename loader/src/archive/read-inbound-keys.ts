import type { Connection } from '@tableset/common/database/connection.ts';
import type { InboundKey } from '../core/archive/inbound-keys.ts';

type Named = { readonly schema: string; readonly name: string };

/**
 * Reads the foreign keys to these tables as InnoDB has them: those of every schema, which other views show only to who has rights there. It takes PROCESS. InnoDB is the
 * only engine whose foreign keys can refer to its tables.
 */
export async function readInboundKeys(
  connection: Connection,
  tables: readonly Named[],
): Promise<readonly InboundKey[]> {
  const { flavour, lowerCaseTableNames } = connection.server;
  const rows =
    flavour === 'mysql'
      ? await connection.rows(
          `SELECT FOR_NAME AS child, REF_NAME AS parent FROM information_schema.INNODB_FOREIGN WHERE REF_NAME IN (${tables.map(() => '?').join(', ')})`,
          tables.map(({ schema, name }) => `${schema}/${name}`),
        )
      : await connection.rows(
          `SELECT ${decoded('FOR_NAME')} AS child, ${decoded('REF_NAME')} AS parent FROM information_schema.INNODB_SYS_FOREIGN
           WHERE CAST(REF_NAME AS BINARY) IN (${tables.map(() => `CONCAT(${encoded}, '/', ${encoded})`).join(', ')})`,
          tables
            .flatMap(({ schema, name }) => [schema, name])
            .map((name) => (lowerCaseTableNames === 0 ? name : name.toLowerCase())),
        );
  return rows.map((row) => ({ child: String(row['child']), parent: String(row['parent']) }));
}

/** MariaDB's InnoDB calls tables as their files are called. */
const encoded = 'CAST(CONVERT(? USING filename) AS BINARY)';

function decoded(column: string): string {
  const part = (at: number) =>
    `CONVERT(CONVERT(CAST(SUBSTRING_INDEX(${column}, '/', ${at}) AS BINARY) USING filename) USING utf8mb4)`;
  return `CONCAT(${part(1)}, '/', ${part(-1)})`;
}
