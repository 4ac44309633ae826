import { commonError } from '../errors.ts';

/** What a run needs to know of the server it talks to. */
export interface ServerFacts {
  readonly flavour: 'mysql' | 'mariadb';
  /** VERSION() verbatim. */
  readonly version: string;
  /** [major, minor, patch]. */
  readonly number: readonly [number, number, number];
  /** Why GET_LOCK does not exclude across nodes here, or null if it does. */
  readonly clusterHazard: string | null;
  readonly maxAllowedPacketBytes: number;
  /** The server's local_infile. */
  readonly localInfile: boolean;
  /** lower_case_table_names: 0 names are case-sensitive. */
  readonly lowerCaseTableNames: number;
}

const oldest = { mysql: [8, 0], mariadb: [10, 6] } as const;

/**
 * Parses VERSION(): `9.7.1`, `8.0.43-0ubuntu`, `11.8.2-MariaDB-log`, `5.5.5-10.11.6-MariaDB` (the prefix is for old replicas).
 * @throws AppError DATABASE_UNSUPPORTED if it is older than what is tested.
 */
export function parseServerVersion(version: string): Pick<ServerFacts, 'flavour' | 'version' | 'number'> {
  const flavour = /mariadb/i.test(version) ? 'mariadb' : 'mysql';
  const match = /(\d+)\.(\d+)\.(\d+)/.exec(version.replace(/^5\.5\.5-/, ''));
  const number = [Number(match?.[1] ?? 0), Number(match?.[2] ?? 0), Number(match?.[3] ?? 0)] as const;
  const [major, minor] = oldest[flavour];
  if (number[0] < major || (number[0] === major && number[1] < minor)) {
    throw commonError(
      'DATABASE_UNSUPPORTED',
      `the server is ${flavour} ${version}; the oldest supported is ${major}.${minor}`,
    );
  }
  return { flavour, version, number };
}

/** True if the server's version is at least the one given. */
export function atLeast(server: ServerFacts, major: number, minor = 0, patch = 0): boolean {
  const [a, b, c] = server.number;
  return a !== major ? a > major : b !== minor ? b > minor : c >= patch;
}
