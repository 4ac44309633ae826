import { join } from 'node:path';
import type { LoadEntryFile } from './load-schema.ts';

/** What the content must be, as it is transferred; null where nothing was promised. */
export interface Proof {
  /** 64 lower-case hexadecimal digits. */
  readonly sha256: string | null;
  readonly sizeBytes: number | null;
}

export interface FileSourceSettings {
  readonly kind: 'file';
  /** A path, or a glob pattern where `isPattern`; relative to the working directory or absolute. */
  readonly path: string;
  readonly isPattern: boolean;
  readonly proof: Proof;
}

export interface HttpSourceSettings {
  readonly kind: 'http';
  readonly url: string;
  /** Paths of files with the values, by header name. */
  readonly headerFiles: Readonly<Record<string, string>>;
  readonly caFile: string | null;
  readonly proof: Proof;
}

export interface S3SourceSettings {
  readonly kind: 's3';
  readonly bucket: string;
  /** An object's key, or a glob pattern of keys where `isPattern`. */
  readonly key: string;
  readonly isPattern: boolean;
  readonly proof: Proof;
}

export interface QuerySourceSettings {
  readonly kind: 'query';
  readonly query: string;
  /** A name under `databases`. */
  readonly from: string;
}

export type SourceSettings = FileSourceSettings | HttpSourceSettings | S3SourceSettings | QuerySourceSettings;

export const formats = ['csv', 'tsv', 'jsonl', 'json', 'parquet'] as const;
export type Format = (typeof formats)[number];

/** What is wrong with a source; `key` names the key inside it that is to blame. */
export interface SourceProblem {
  readonly problem: string;
  readonly key?: string;
}

/**
 * Turns `source:` into one of the four kinds. Relative paths are taken from `directory`, the folder of the configuration file.
 * Addresses with a user or password in them are refused without being repeated.
 */
export function sourceSettings(source: LoadEntryFile['source'], directory: string): SourceSettings | SourceProblem {
  if (typeof source === 'string') return fromText(source, directory);
  if ('query' in source) return { kind: 'query', query: source.query, from: source.from };
  const proof = { sha256: source.sha256?.toLowerCase() ?? null, sizeBytes: source.sizeBytes ?? null };
  if ('path' in source) return { kind: 'file', path: fromDirectory(source.path, directory), isPattern: false, proof };
  const settings = fromAddress(source.url, proof);
  if ('problem' in settings) return { ...settings, key: 'url' };
  if (settings.kind === 's3') {
    if (source.headerFiles)
      return { problem: 's3:// takes no request headers; see the s3 section', key: 'headerFiles' };
    if (source.caFile)
      return { problem: 's3:// takes no authorities of its own; set NODE_EXTRA_CA_CERTS', key: 'caFile' };
    if (settings.isPattern && (proof.sha256 ?? proof.sizeBytes) !== null) {
      return { problem: 'sha256 and sizeBytes are of one object; the address is a pattern', key: 'url' };
    }
    return settings;
  }
  const headerFiles = Object.entries(source.headerFiles ?? {}).map(([name, file]) => [
    name,
    fromDirectory(file, directory),
  ]);
  return {
    ...settings,
    headerFiles: Object.fromEntries(headerFiles),
    caFile: source.caFile === undefined ? null : fromDirectory(source.caFile, directory),
  };
}

/** Resolves a path that stands in the configuration file. */
export function fromDirectory(path: string, directory: string): string {
  return path.startsWith('/') ? path : join(directory, path);
}

/** The format that a name's ending tells, before `.gz` or `.zst`; null if it tells none. */
export function formatByEnding(name: string): Format | null {
  const ending = /\.([a-z]+)(?:\.(?:gz|zst))?$/i.exec(name)?.[1]?.toLowerCase();
  if (ending === 'ndjson') return 'jsonl';
  return formats.find((format) => format === ending) ?? null;
}

/** The name whose ending tells the format: a path, a key, or the path of an address; null for queries. */
export function endingName(source: SourceSettings): string | null {
  if (source.kind === 'query') return null;
  if (source.kind === 'http') return new URL(source.url).pathname;
  return source.kind === 'file' ? source.path : source.key;
}

const noProof: Proof = { sha256: null, sizeBytes: null };

function fromText(text: string, directory: string): SourceSettings | SourceProblem {
  if (/^[a-z][a-z0-9+.-]*:\/\//i.test(text)) return fromAddress(text, noProof);
  return { kind: 'file', path: fromDirectory(text, directory), isPattern: isPattern(text), proof: noProof };
}

function fromAddress(address: string, proof: Proof): HttpSourceSettings | S3SourceSettings | SourceProblem {
  if (address.startsWith('s3://')) {
    // Keys are taken as they are: unlike in an address, `%20` and `?` are characters of their own.
    const match = /^s3:\/\/([^/]+)\/(.+)$/s.exec(address);
    if (!match?.[1] || !match[2]) return { problem: 'takes s3://bucket/key' };
    if (match[1].includes('@')) return { problem: credentialsHint };
    return { kind: 's3', bucket: match[1], key: match[2], isPattern: isPattern(match[2]), proof };
  }
  if (!URL.canParse(address)) return { problem: 'is not an address that can be read' };
  const url = new URL(address);
  if (url.username !== '' || url.password !== '') return { problem: credentialsHint };
  if (url.protocol !== 'https:' && url.protocol !== 'http:') {
    return { problem: `cannot read ${url.protocol}// addresses; it takes a path, https://, http:// or s3://` };
  }
  return { kind: 'http', url: url.href, headerFiles: {}, caFile: null, proof };
}

const credentialsHint =
  'holds a user or password, which would end up in logs; use headerFiles for an Authorization header, or the s3 section';

function isPattern(text: string): boolean {
  return /[*?[{]/.test(text);
}
