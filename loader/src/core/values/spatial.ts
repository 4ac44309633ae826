import type { ColumnDefinition } from '@tableset/common/database/table-definition.ts';
import type { ByteSink } from '../encoding/byte-sink.ts';
import type { Problem, ValueCodec } from './codec.ts';

/** WKB's numbers of the two-dimensional types, the only ones that the servers have. */
const typeNumbers: Readonly<Record<string, number>> = {
  point: 1,
  linestring: 2,
  polygon: 3,
  multipoint: 4,
  multilinestring: 5,
  multipolygon: 6,
  geometrycollection: 7,
};
const typeNames = [
  '',
  'point',
  'linestring',
  'polygon',
  'multipoint',
  'multilinestring',
  'multipolygon',
  'geometrycollection',
];
const elementTypes: Readonly<Record<number, number>> = { 4: 1, 5: 2, 6: 3 };
const DEPTH_MAX = 20;

/** True for the types that spatialCodec serves. */
export function isSpatialType(dataType: string): boolean {
  return dataType === 'geometry' || dataType === 'geomcollection' || Object.hasOwn(typeNumbers, dataType);
}

class SpatialFault extends Error {}

/**
 * Spatial columns: WKT or hexadecimal WKB, written as the hex of little-endian WKB, which ST_AsWKB gives back byte by byte. Coordinates keep
 * the order of the text. MariaDB turns what it cannot read into NULL silently, so structure is checked here: rings of at least
 * four points and closed, lines of at least two, finite numbers, the type that the column takes.
 */
export function spatialCodec(column: ColumnDefinition): ValueCodec {
  const name = column.dataType === 'geomcollection' ? 'geometrycollection' : column.dataType;
  const wanted = typeNumbers[name] ?? 0;
  return {
    takesEmpty: false,
    isCanonical: () => false,
    write(bytes: Buffer, start: number, end: number, sink: ByteSink): Problem | null {
      try {
        const text = bytes.toString('latin1', start, end);
        const hex = /^(?:0x)?(0[01][0-9a-f]*)$/i.exec(text)?.[1];
        const value = hex === undefined ? new WktReader(text).read() : new WkbReader(hex).read();
        if (wanted !== 0 && value.readUInt32LE(1) !== wanted) return `is not a ${name}`;
        sink.hex(value);
        return null;
      } catch (error) {
        if (error instanceof SpatialFault) return error.message;
        throw error;
      }
    },
  };
}

type Point = readonly [number, number];

function header(type: number, count?: number): Buffer {
  const bytes = Buffer.alloc(count === undefined ? 5 : 9);
  bytes[0] = 1;
  bytes.writeUInt32LE(type, 1);
  if (count !== undefined) bytes.writeUInt32LE(count, 5);
  return bytes;
}

function coordinates(points: readonly Point[]): Buffer {
  const bytes = Buffer.alloc(points.length * 16);
  for (const [i, [x, y]] of points.entries()) {
    bytes.writeDoubleLE(x, i * 16);
    bytes.writeDoubleLE(y, i * 16 + 8);
  }
  return bytes;
}

function count(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return bytes;
}

function line(points: readonly Point[]): Buffer {
  if (points.length < 2) throw new SpatialFault('has a line of fewer than two points');
  return Buffer.concat([header(2, points.length), coordinates(points)]);
}

function polygon(rings: readonly (readonly Point[])[]): Buffer {
  if (rings.length === 0) throw new SpatialFault('has a polygon without a ring');
  const parts = rings.map((ring) => {
    const [first, last] = [ring[0], ring.at(-1)];
    const closed = first !== undefined && last !== undefined && first[0] === last[0] && first[1] === last[1];
    if (ring.length < 4 || !closed)
      throw new SpatialFault('has a ring that is not closed or has fewer than four points');
    return Buffer.concat([count(ring.length), coordinates(ring)]);
  });
  return Buffer.concat([header(3, rings.length), ...parts]);
}

function collection(type: number, parts: readonly Buffer[]): Buffer {
  if (parts.length === 0 && type !== 7)
    throw new SpatialFault('has an empty geometry, which only GEOMETRYCOLLECTION may be');
  return Buffer.concat([header(type, parts.length), ...parts]);
}

/** Reads well-known text. */
class WktReader {
  readonly #tokens: string[];
  #at = 0;

  constructor(text: string) {
    this.#tokens = text.match(/[A-Za-z]+|[(),]|[^\s(),A-Za-z][^\s(),]*|\S/g) ?? [];
  }

  read(): Buffer {
    const value = this.#geometry(0);
    if (this.#at !== this.#tokens.length) throw new SpatialFault('is not WKT: text after the geometry');
    return value;
  }

  #geometry(depth: number): Buffer {
    if (depth > DEPTH_MAX) throw new SpatialFault('is nested too deeply');
    const word = (this.#tokens[this.#at++] ?? '').toLowerCase();
    const type = typeNumbers[word] ?? 0;
    if (type === 7 && this.#tokens[this.#at]?.toLowerCase() === 'empty') {
      this.#at++;
      return collection(7, []);
    }
    switch (type) {
      case 1:
        return this.#inParentheses(() => Buffer.concat([header(1), coordinates([this.#point()])]));
      case 2:
        return line(this.#points());
      case 3:
        return polygon(this.#list(() => this.#points()));
      case 4:
        return collection(
          4,
          this.#list(() => Buffer.concat([header(1), coordinates([this.#memberPoint()])])),
        );
      case 5:
        return collection(
          5,
          this.#list(() => line(this.#points())),
        );
      case 6:
        return collection(
          6,
          this.#list(() => polygon(this.#list(() => this.#points()))),
        );
      case 7:
        return collection(
          7,
          this.#list(() => this.#geometry(depth + 1)),
        );
      default:
        throw new SpatialFault('is neither WKT nor hexadecimal WKB');
    }
  }

  #memberPoint(): Point {
    return this.#tokens[this.#at] === '(' ? this.#inParentheses(() => this.#point()) : this.#point();
  }

  #points(): Point[] {
    return this.#list(() => this.#point());
  }

  #point(): Point {
    return [this.#number(), this.#number()];
  }

  #number(): number {
    const text = this.#tokens[this.#at++] ?? '';
    if (!/^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$/.test(text)) throw new SpatialFault('is not WKT: a number expected');
    const value = Number(text);
    if (!Number.isFinite(value)) throw new SpatialFault('has a coordinate beyond DOUBLE');
    return value;
  }

  #list<Item>(read: () => Item): Item[] {
    return this.#inParentheses(() => {
      const items = [read()];
      while (this.#tokens[this.#at] === ',') {
        this.#at++;
        items.push(read());
      }
      return items;
    });
  }

  #inParentheses<Item>(read: () => Item): Item {
    if (this.#tokens[this.#at++] !== '(') throw new SpatialFault('is not WKT: "(" expected');
    const item = read();
    if (this.#tokens[this.#at++] !== ')') throw new SpatialFault('is not WKT: ")" expected');
    return item;
  }
}

/** Reads well-known binary of either byte order. */
class WkbReader {
  readonly #bytes: Buffer;
  #at = 0;

  constructor(hex: string) {
    this.#bytes = Buffer.from(hex, 'hex');
    if (this.#bytes.length * 2 !== hex.length) throw new SpatialFault('has an odd number of hexadecimal digits');
  }

  read(): Buffer {
    const value = this.#geometry(0, 0);
    if (this.#at !== this.#bytes.length) throw new SpatialFault('is not WKB: bytes after the geometry');
    return value;
  }

  #geometry(depth: number, wanted: number): Buffer {
    if (depth > DEPTH_MAX) throw new SpatialFault('is nested too deeply');
    const little = this.#take(1)[0] === 1;
    const type = this.#uint(little);
    if (type < 1 || type >= typeNames.length || (wanted !== 0 && type !== wanted)) {
      throw new SpatialFault('is not WKB of a two-dimensional geometry (an SRID inside, as in EWKB, is not accepted)');
    }
    if (type === 1) return Buffer.concat([header(1), coordinates(this.#points(little, 1))]);
    const size = this.#uint(little);
    if (type === 2) return line(this.#points(little, size));
    this.#room(size, 4);
    if (type === 3) return polygon(Array.from({ length: size }, () => this.#points(little, this.#uint(little))));
    return collection(
      type,
      Array.from({ length: size }, () => this.#geometry(depth + 1, elementTypes[type] ?? 0)),
    );
  }

  #points(little: boolean, size: number): Point[] {
    this.#room(size, 16);
    return Array.from({ length: size }, () => [this.#double(little), this.#double(little)] as const);
  }

  #double(little: boolean): number {
    const bytes = this.#take(8);
    const value = little ? bytes.readDoubleLE() : bytes.readDoubleBE();
    if (!Number.isFinite(value)) throw new SpatialFault('has a coordinate that is not finite');
    return value;
  }

  #uint(little: boolean): number {
    const bytes = this.#take(4);
    return little ? bytes.readUInt32LE() : bytes.readUInt32BE();
  }

  /** A count is believed only as far as the bytes reach, so that a forged one takes no memory. */
  #room(size: number, each: number): void {
    if (size * each > this.#bytes.length - this.#at) throw new SpatialFault('is not WKB: it ends too early');
  }

  #take(size: number): Buffer {
    if (this.#at + size > this.#bytes.length) throw new SpatialFault('is not WKB: it ends too early');
    this.#at += size;
    return this.#bytes.subarray(this.#at - size, this.#at);
  }
}
