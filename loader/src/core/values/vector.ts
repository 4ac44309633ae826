import type { ColumnDefinition } from '@tableset/common/database/table-definition.ts';
import type { ByteSink } from '../encoding/byte-sink.ts';
import type { CodecContext, Problem, ValueCodec } from './codec.ts';

/**
 * VECTOR(n): a JSON array of numbers within FLOAT's range, written as the hex of its little-endian floats, which both servers store as they
 * are. MariaDB takes exactly n numbers, MySQL 1 to n.
 */
export function vectorCodec(column: ColumnDefinition, context: CodecContext): ValueCodec {
  const size = Number(/\((\d+)\)/.exec(column.columnType)?.[1] ?? 2048);
  return {
    takesEmpty: false,
    isCanonical: () => false,
    write(bytes: Buffer, start: number, end: number, sink: ByteSink): Problem | null {
      if (end - start > 64 * size + 100) return `is too long for ${column.columnType}`;
      const text = bytes.toString('latin1', start, end);
      const inner = /^\s*\[([^[\]]*)\]\s*$/.exec(text)?.[1];
      if (inner === undefined) return 'is not an array of numbers [1.5,2,…]';
      const parts = inner.split(',').map((part) => part.trim());
      if (!parts.every((part) => /^-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?$/.test(part)))
        return 'is not an array of numbers [1.5,2,…]';
      if (parts.length > size || (context.server === 'mariadb' && parts.length !== size)) {
        return `has ${parts.length} numbers, ${column.columnType} takes ${size}`;
      }
      const value = Buffer.alloc(parts.length * 4);
      for (const [i, part] of parts.entries()) {
        const number = Math.fround(Number(part));
        if (!Number.isFinite(number)) return `has a number beyond FLOAT`;
        value.writeFloatLE(number, i * 4);
      }
      sink.hex(value);
      return null;
    },
  };
}
