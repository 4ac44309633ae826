import type { CanonicalRow } from '../../core/archive/canonical.ts';
import type { ManifestTable } from '../../core/archive/manifest.ts';
import { keyOrder } from './archive-filter.ts';

export interface KeptRow {
  readonly key: readonly string[];
  readonly row: CanonicalRow;
  readonly bytes: number;
}

/**
 * Of the rows of a batch those with the least keys after a given one, in order, however the store gives them. It keeps no more than is asked for, whatever the batch has.
 */
export class LeastRows {
  readonly #order: (a: readonly string[], b: readonly string[]) => number;
  readonly #after: readonly string[] | null;
  readonly #limits: { readonly rows: number; readonly bytes: number };
  readonly #rows: KeptRow[] = [];
  #bytes = 0;
  #more = false;

  constructor(
    table: Pick<ManifestTable, 'columns' | 'key'>,
    after: readonly string[] | null,
    limits: { readonly rows: number; readonly bytes: number },
  ) {
    this.#order = keyOrder(table);
    this.#after = after;
    this.#limits = limits;
  }

  offer(key: readonly string[], row: CanonicalRow): void {
    if (this.#after !== null && this.#order(key, this.#after) <= 0) return;
    const place = this.#placeOf(key);
    // Once something was left out, all that comes behind the last is left out too.
    if (this.#more && place === this.#rows.length) return;
    const bytes = row.reduce((sum, cell) => sum + (cell?.length ?? 0), 0);
    this.#rows.splice(place, 0, { key, row, bytes });
    this.#bytes += bytes;
    // A row that is larger than a page comes alone.
    while (this.#rows.length > this.#limits.rows || (this.#bytes > this.#limits.bytes && this.#rows.length > 1)) {
      this.#bytes -= this.#rows.pop()?.bytes ?? 0;
      this.#more = true;
    }
  }

  /** `more`: the batch has further rows behind these. */
  result(): { readonly rows: readonly KeptRow[]; readonly more: boolean } {
    return { rows: this.#rows, more: this.#more };
  }

  /** Where the key belongs; rows mostly come in order, so the end is looked at first. */
  #placeOf(key: readonly string[]): number {
    const last = this.#rows.at(-1);
    if (!last || this.#order(key, last.key) > 0) return this.#rows.length;
    let [low, high] = [0, this.#rows.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.#order(this.#rows[middle]?.key ?? [], key) < 0) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}
