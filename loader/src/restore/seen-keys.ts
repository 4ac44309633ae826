import { hash } from 'node:crypto';
import { loaderError } from '../errors.ts';

/** About 1 GiB of memory; a restore of more than that is asked for in parts. */
const keysMax = 10_000_000;

/** Keys whose newest version has been met, so that older ones are left alone. */
export class SeenKeys {
  readonly #tables = new Map<string, Set<string>>();
  #count = 0;

  /** True the first time. */
  take(table: string, keyText: string): boolean {
    let keys = this.#tables.get(table);
    if (!keys) {
      keys = new Set();
      this.#tables.set(table, keys);
    }
    // Half of a SHA-256 takes little room and never meets another by chance.
    const mark = hash('sha256', keyText, 'buffer').toString('latin1', 0, 16);
    if (keys.has(mark)) return false;
    if (++this.#count > keysMax) {
      throw loaderError('RESTORE_CONFLICT', `more than ${keysMax} rows are asked for at once`, {
        hint: 'Restore them in parts, by --from and --to.',
      });
    }
    keys.add(mark);
    return true;
  }
}
