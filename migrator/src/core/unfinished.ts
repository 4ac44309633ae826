import type { AppError } from '@tableset/common/errors.ts';
import { migrationError } from '../errors.ts';

/** A migration that was begun and is neither applied nor undone, as far as it is known without looking at the schema. */
export interface Unfinished {
  /** The version, or `R__name`. */
  readonly id: string;
  /** The file's name, or the migration's where the file is not known. */
  readonly label: string;
  readonly direction: 'up' | 'down';
  /** What it failed with; null if it was cut off or is still running. */
  readonly error: string | null;
  /** A statement of it was sent, and nothing tells whether it took effect. */
  readonly inDoubt: boolean;
}

/** The three ways to tell the migrator what became of a migration. */
export function waysToResolve(id: string, statement?: number): string {
  return [
    `\`migrator resolve ${id} --as applied\` (everything in the file is done),`,
    `\`migrator resolve ${id} --as rolled-back\` (you undid it; it runs again from its start),`,
    `\`migrator resolve ${id} --as retry\` (${statement === undefined ? 'the statement that was cut off' : `statement ${statement}`} had no effect; it runs again and the file goes on from there).`,
  ].join(' ');
}

/** The same for a script, which is known as a whole or not at all. */
export function waysToResolveScript(id: string): string {
  return [
    `\`migrator resolve ${id} --as applied\` (all of it is done, or you did the rest by hand),`,
    `\`migrator resolve ${id} --as rolled-back\` (nothing of it is left, or you undid it; it runs again),`,
    `\`migrator resolve ${id} --as retry\` (it can run again over what it did).`,
  ].join(' ');
}

/** The ways for a `down` that did not finish, where the words mean the way back. */
function waysToResolveDown(id: string): string {
  return [
    `\`migrator resolve ${id} --as applied\` (all of it is undone),`,
    `\`migrator resolve ${id} --as rolled-back\` (nothing of it is undone; it counts as applied again),`,
    `\`migrator resolve ${id} --as retry\` (the statement that was cut off had no effect).`,
  ].join(' ');
}

/** What to do after a failure, the same words wherever it is told: at once, and by later runs of any verb. */
export function remedyOf({ id, label, direction, inDoubt }: Omit<Unfinished, 'error'>): string {
  const again = direction === 'up' ? '`migrator up`' : '`migrator down` with the same --to';
  const waysUp = isScript(label) ? waysToResolveScript(id) : waysToResolve(id);
  const ways = direction === 'up' ? waysUp : waysToResolveDown(id);
  if (inDoubt) {
    return isScript(label)
      ? `What ${label} did may have stayed in part: definitions commit by themselves, and without a transaction every statement does. Look at the schema, then run one of: ${ways}`
      : `Look at the schema: what the statement did cannot be told for certain. ${again} goes on by itself where a look proves it; else run one of: ${ways}`;
  }
  return isScript(label)
    ? `Nothing of ${label} stayed: it ran in one transaction, which was rolled back. Mend it and run ${again} again, which runs it from its start.`
    : `Mend the statement and run ${again} again, which goes on there; the statements before it stay as they are. To give up instead: \`migrator resolve ${id} --as rolled-back\` once you have undone them.`;
}

/** The documented error for a migration that did not finish. @param hasFile whether the folder still holds its file */
export function unfinishedError(unfinished: Unfinished, hasFile: boolean): AppError {
  const { id, label, direction, error, inDoubt } = unfinished;
  const details = { version: id, file: label, state: error === null ? 'running' : 'failed' };
  const said = error === null ? '' : `: ${error}`;
  if (direction === 'down') {
    const message = `migration ${id} (${label}) is half undone by a \`down\` that ${error === null ? 'was cut off or still runs' : 'failed'}${said}`;
    return migrationError('MIGRATION_UNFINISHED', message, { details, hint: remedyOf(unfinished) });
  }
  if (!hasFile) {
    const how = error === null ? 'was begun and is not applied' : 'failed and is not applied';
    return migrationError('MIGRATION_UNFINISHED', `migration ${id} (${label}) ${how}, and its file is gone${said}`, {
      details,
      hint: `To give it up, undo what its statements did and run \`migrator resolve ${id} --as rolled-back\`; to go on with it, put ${label} back and run \`migrator up\`.`,
    });
  }
  if (error !== null && !inDoubt) {
    const code = isScript(label) ? 'MIGRATION_SCRIPT_FAILED' : 'MIGRATION_STATEMENT_FAILED';
    return migrationError(code, `migration ${id} failed: ${error}`, { details, hint: remedyOf(unfinished) });
  }
  if (error !== null) {
    const message = `migration ${id} (${label}) failed${said}`;
    return migrationError('MIGRATION_UNFINISHED', message, { details, hint: remedyOf(unfinished) });
  }
  return migrationError('MIGRATION_UNFINISHED', `migration ${id} (${label}) was begun and has not finished`, {
    details,
    hint: inDoubt
      ? `If a run is at it now, wait for it. ${remedyOf(unfinished)}`
      : 'If no run is at it now, run `migrator up`, which goes on with it.',
  });
}

function isScript(label: string): boolean {
  return /\.[cm]?[jt]s$/.test(label);
}
