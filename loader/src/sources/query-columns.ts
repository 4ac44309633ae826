import type { Connection } from '@tableset/common/database/connection.ts';
import { loaderError } from '../errors.ts';

export interface QueryColumn {
  readonly name: string;
  /** Values come as Buffers. */
  readonly binary: boolean;
  /** Single precision, which the text protocol rounds. */
  readonly float: boolean;
}

/** The parts of mysql2's prepared statement that its types leave out. */
interface PreparedStatement {
  readonly columns: readonly { readonly name: string; readonly columnType: number; readonly characterSet: number }[];
  readonly parameters: readonly unknown[];
  close(): void;
}

const floatType = 4;
/** BIT, VECTOR and GEOMETRY are bytes; the string and blob types are if their character set is `binary`. */
const bytesTypes = new Set([16, 242, 255]);
const stringTypes = new Set([15, 249, 250, 251, 252, 253, 254]);
const binaryCharacterSet = 63;

/** Asks the server what a statement's columns are by preparing it, without running it. */
export async function queryColumns(connection: Connection, query: string, name: string): Promise<QueryColumn[]> {
  const statement = await new Promise<PreparedStatement>((resolve, reject) => {
    connection.driver.prepare(query, (error, prepared) => {
      if (error) reject(error);
      // mysql2 declares less than it gives.
      else resolve(prepared as unknown as PreparedStatement);
    });
  });
  statement.close();
  if (statement.parameters.length > 0) {
    throw loaderError('LOAD_QUERY_REFUSED', `${name} has placeholders (?), for which there are no values`);
  }
  if (statement.columns.length === 0) {
    throw loaderError('LOAD_QUERY_REFUSED', `${name} gives no columns`);
  }
  return statement.columns.map(({ name, columnType, characterSet }) => ({
    name,
    binary: bytesTypes.has(columnType) || (stringTypes.has(columnType) && characterSet === binaryCharacterSet),
    float: columnType === floatType,
  }));
}
