import { open } from 'node:fs/promises';
import type { ServerFacts } from '@tableset/common/database/server.ts';
import { atLeast } from '@tableset/common/database/server.ts';
import type { TableDefinition } from '@tableset/common/database/table-definition.ts';
import type { LoadTable } from '../config/load-config.ts';
import { openRows } from '../core/encode-rows.ts';
import type { EncodedRows, EncodeOptions, Reject } from '../core/encoded-rows.ts';
import { loaderError } from '../errors.ts';
import type { RecordSet, Source } from '../sources/source.ts';

export interface SourcePass {
  readonly task: LoadTable;
  readonly source: Source;
  readonly definition: TableDefinition;
  readonly server: ServerFacts;
  readonly onReject: (reject: Reject) => void;
  readonly signal: AbortSignal;
  /** True if one chunk at a time is written, with nothing beside it. */
  readonly onlyStream: boolean;
  /** Columns and separator that an earlier file or pass had. */
  readonly fixed?: { readonly targets: readonly string[]; readonly separator: number };
}

/** Large enough that the cost of a LOAD DATA statement hardly shows, small enough that memory for several of them does not either. */
const chunkBytes = 2 * 1024 * 1024;
/** Where one stream alone fills the table, the server idles between statements. */
const onlyStreamChunkBytes = 2 * chunkBytes;

/** One pass over the source: each of its files as encoded rows, in order. The next file must not be asked for before the last one's chunks are read. */
export async function* sourceRows(pass: SourcePass): AsyncGenerator<EncodedRows> {
  const { source, task, signal } = pass;
  let fixed = pass.fixed;
  const options = (format: EncodeOptions['format']): EncodeOptions => ({
    format,
    dialect: task.dialect,
    table: task.table,
    columns: pass.definition.columns,
    mapping: task.mapping,
    server: pass.server.flavour,
    timestampMax: pass.server.flavour === 'mariadb' && atLeast(pass.server, 11, 5) ? '2106' : '2038',
    chunkBytes: pass.onlyStream ? onlyStreamChunkBytes : chunkBytes,
    recordBytesMax: task.maxRecordBytes,
    onReject: pass.onReject,
    signal,
    ...(fixed ?? {}),
  });
  const remember = (rows: EncodedRows): EncodedRows => {
    if (rows.plan && !fixed) {
      fixed = { targets: rows.plan.columns.map(({ column }) => column.name), separator: rows.plan.separator };
    }
    return rows;
  };
  if (source.kind === 'records') {
    await using records = await source.open(signal);
    const header = records.columns.map((column) => column.name);
    const input = { name: source.describe(), bytes: recordText(records) };
    yield remember(await openRows(input, { ...options('tsv'), dialect: { header } }));
    return;
  }
  const format = task.format ?? 'csv';
  for await (const file of source.open(signal, { randomAccess: format === 'parquet' })) {
    if (format === 'parquet' && file.path !== null) {
      await using handle = await open(file.path, 'r');
      const { size } = await handle.stat();
      const read = async (start: number, end: number): Promise<Uint8Array> => {
        const buffer = Buffer.allocUnsafe(end - start);
        let filled = 0;
        while (filled < buffer.length) {
          const { bytesRead } = await handle.read(buffer, filled, buffer.length - filled, start + filled);
          if (bytesRead === 0)
            throw loaderError('LOAD_SOURCE_CHANGED', `${file.name} became shorter while it was read`);
          filled += bytesRead;
        }
        return buffer;
      };
      yield remember(await openRows({ name: file.name, byteLength: size, read }, options(format)));
    } else {
      yield remember(await openRows({ name: file.name, bytes: file.bytes() }, options(format)));
    }
  }
}

/** A query's rows as the TSV that the encoder reads: escapes for what would end a field, `\N` for NULL, binary values as `0x…`. */
async function* recordText(records: RecordSet): AsyncGenerator<Buffer> {
  for await (const batch of records.rows) {
    const lines = batch.map((row) => row.map(recordField).join('\t'));
    yield Buffer.from(lines.length === 0 ? '' : `${lines.join('\n')}\n`, 'utf8');
  }
}

function recordField(value: string | Buffer | null): string {
  if (value === null) return '\\N';
  if (typeof value !== 'string') return `0x${value.toString('hex')}`;
  return value.replace(tsvSpecial, (character) => tsvEscapes[character] ?? character);
}

const tsvSpecial = /[\0\\\t\n\r]/g;
const tsvEscapes: Readonly<Record<string, string>> = {
  '\0': '\\0',
  '\\': '\\\\',
  '\t': '\\t',
  '\n': '\\n',
  '\r': '\\r',
};
