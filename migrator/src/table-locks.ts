import type { Connection } from '@tableset/common/database/connection.ts';
import { quoteTable } from '@tableset/common/database/quoting.ts';
import { migrationError } from './errors.ts';
import { journalTable } from './history.ts';
import type { Step } from './step.ts';

/**
 * The LOCK TABLES statement with the journal put first in its list: under LOCK TABLES a session reaches only what it locked,
 * and the journal must be written by this very session, in the transaction of the changes that it records. The history stays
 * unlocked, because other pods read it as they start.
 */
export function addJournalToLocks(connection: Connection, step: Step): string {
  const match = /^(?:\s|\/\*[^!][\s\S]*?\*\/)*LOCK\s+TABLES?\s/i.exec(step.text);
  if (match === null) {
    throw migrationError(
      'MIGRATION_UNSUPPORTED',
      `statement ${step.number} in line ${step.line} locks tables in a form that the journal cannot be added to`,
      { hint: 'Write LOCK TABLES without comments between the two words.' },
    );
  }
  const journal = quoteTable(connection.settings.name, journalTable);
  return `${match[0]}${journal} WRITE, ${step.text.slice(match[0].length)}`;
}
