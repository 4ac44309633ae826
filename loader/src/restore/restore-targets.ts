import type { Connection } from '@tableset/common/database/connection.ts';
import { classifyFault } from '@tableset/common/database/errno.ts';
import { quoteTable } from '@tableset/common/database/quoting.ts';
import { readTableDefinition } from '@tableset/common/database/read-table.ts';
import type { TableDefinition } from '@tableset/common/database/table-definition.ts';
import { commonError } from '@tableset/common/errors.ts';
import { readSight } from '../archive/plan-archive.ts';
import type { Sight } from '../core/archive/archive-rules.ts';
import type { ManifestTable } from '../core/archive/manifest.ts';
import { createFromManifest, fitTarget, hasArchivedTypes, type RestoreTarget } from '../core/archive/restore-sql.ts';
import { loaderError } from '../errors.ts';

export interface TargetOptions {
  /** The table that the root's rows go into; null: where they came from. */
  readonly into: string | null;
  readonly allowTriggers: boolean;
}

/** Which table of the primary takes the rows of which table of a batch; read from the server once each. */
export class RestoreTargets {
  readonly #connection: Connection;
  readonly #options: TargetOptions;
  readonly #definitions = new Map<string, TableDefinition | null>();
  readonly #referenced = new Map<string, TableDefinition | null>();
  readonly #fits = new Map<string, RestoreTarget>();
  #sight: Sight | null = null;
  /** A table that this run has made has no triggers. */
  #made: string | null = null;

  constructor(connection: Connection, options: TargetOptions) {
    this.#connection = connection;
    this.#options = options;
    if (options.into !== null && /^tableset_/i.test(options.into)) {
      throw commonError(
        'SETTING_INVALID',
        `--into was given ${JSON.stringify(options.into)}, which is a name of the ledger`,
      );
    }
  }

  /** True if the rows go where they came from, or into a table that is there. */
  async exists(): Promise<boolean> {
    const { into } = this.#options;
    return into === null || (await this.#find(into)) !== null;
  }

  /** @throws AppError ARCHIVE_TABLE_UNSUITABLE if there is no such table. */
  async definition(table: string): Promise<TableDefinition> {
    const found = await this.#find(table);
    if (found) return found;
    throw loaderError('ARCHIVE_TABLE_UNSUITABLE', `the table ${table} is not there any more`, {
      hint: 'Make it again, or restore into another table with --into.',
    });
  }

  /**
   * The target of one table of a batch.
   * @throws AppError ARCHIVE_TABLE_UNSUITABLE naming the columns that do not fit
   */
  async target(place: number, table: ManifestTable): Promise<RestoreTarget> {
    const { into, allowTriggers } = this.#options;
    const name = place === 0 && into !== null ? into : table.table;
    const known = JSON.stringify([name, table.columns, table.key]);
    const fit = this.#fits.get(known);
    if (fit) return fit;
    const made = fitTarget(table, await this.definition(name), allowTriggers);
    const unseen = allowTriggers || name === this.#made ? [] : await this.#unseenTriggers(name);
    if (!isTarget(made)) throw unsuitable(name, [...made, ...unseen]);
    if (unseen.length > 0) throw unsuitable(name, unseen);
    this.#fits.set(known, made);
    return made;
  }

  /** Makes the table that --into names, unless it is there: like the original, or, where that has changed, with the archived columns. */
  async create(table: ManifestTable): Promise<void> {
    const { into } = this.#options;
    if (into === null || (await this.exists())) return;
    const { name: schema } = this.#connection.settings;
    await this.#connection.run(
      (await this.#isLikeOriginal(table))
        ? `CREATE TABLE ${quoteTable(schema, into)} LIKE ${quoteTable(schema, table.table)}`
        : createFromManifest(schema, into, table),
    );
    this.#definitions.delete(into);
    this.#fits.clear();
    this.#made = into;
  }

  /** Triggers show only to who may make them; one that is not seen would fire all the same. */
  async #unseenTriggers(name: string): Promise<readonly string[]> {
    this.#sight ??= await readSight(this.#connection);
    if (this.#sight.triggers(name)) return [];
    return [
      'may have triggers that the account does not see: grant it TRIGGER on the schema, or let them fire with --allow-triggers',
    ];
  }

  /** True if the original still takes every archived value; LIKE leaves its triggers behind. */
  async #isLikeOriginal(table: ManifestTable): Promise<boolean> {
    const original = await this.#find(table.table);
    if (original === null) return false;
    const fit = fitTarget(table, { ...original, triggers: [] }, false);
    return isTarget(fit) && hasArchivedTypes(fit, table);
  }

  /** A table of any schema; null where it is not there or not to be seen. */
  async referenced(schema: string, table: string): Promise<TableDefinition | null> {
    const name = JSON.stringify([schema, table]);
    const known = this.#referenced.get(name);
    if (known !== undefined) return known;
    const found = await readTableDefinition(this.#connection, schema, table).catch((error) => {
      if (classifyFault(error) === 'grant-missing') return null;
      throw error;
    });
    this.#referenced.set(name, found);
    return found;
  }

  async #find(table: string): Promise<TableDefinition | null> {
    const known = this.#definitions.get(table);
    if (known !== undefined) return known;
    const found = await readTableDefinition(this.#connection, this.#connection.settings.name, table);
    this.#definitions.set(table, found);
    return found;
  }
}

function isTarget(fit: RestoreTarget | readonly string[]): fit is RestoreTarget {
  return !Array.isArray(fit);
}

function unsuitable(name: string, refusals: readonly string[]) {
  return loaderError('ARCHIVE_TABLE_UNSUITABLE', refusals.map((refusal) => `${name} ${refusal}`).join('\n'), {
    hint: 'Change the table as the message says, or restore into another table with --into; nothing was restored.',
  });
}
