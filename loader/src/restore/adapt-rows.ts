import { rowHash } from '../core/archive/canonical.ts';
import { adaptCell } from '../core/archive/restore-cells.ts';
import { cellText } from '../core/archive/restore-filter.ts';
import type { RestoreTarget } from '../core/archive/restore-sql.ts';
import { keyText } from '../core/archive/selection.ts';
import type { ArchivedRow } from './choose-rows.ts';

/**
 * The rows as the target prints the same values, whose columns may have got more digits since: what is compared and read back is the value, not how it was
 * once written. Rows of a target whose types are those of the archive are handed back as they are.
 */
export function adaptRows(target: RestoreTarget, rows: readonly ArchivedRow[]): readonly ArchivedRow[] {
  const { adapted, columns, binary, key } = target;
  if (adapted.length === 0) return rows;
  const keyPlaces = key.map((column) => columns.indexOf(column));
  return rows.map((archived) => {
    const row = archived.row.map((cell, place) => {
      const column = columns[place];
      return column && adapted.includes(place) ? adaptCell(column, cell) : cell;
    });
    if (row.every((cell, place) => cell === archived.row[place])) return archived;
    const cells = keyPlaces.map((place) => cellText(row[place] ?? null, binary[place] ?? false) ?? '');
    return { row, key: keyText(cells), hash: rowHash(row, binary) };
  });
}
