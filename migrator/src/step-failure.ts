import { serverErrno } from '@tableset/common/database/errno.ts';
import { databaseFailure, excerpt } from '@tableset/common/database/failure.ts';
import { type AppError, commonError, type commonErrors } from '@tableset/common/errors.ts';
import type { Blockers } from './blockers.ts';
import { migrationError } from './errors.ts';
import type { StepContext } from './run-steps.ts';
import type { Step } from './step.ts';

/** `0002_orders.sql:17: statement 3` */
export function placeOf(file: string, step: Pick<Step, 'line' | 'number'>): string {
  return `${file}:${step.line}: statement ${step.number}`;
}

/** The documented error for a statement that failed: file, line, number, what the server said, and who is in the way. */
export function stepFailure(
  context: Pick<StepContext, 'file' | 'lock'>,
  step: Step,
  error: unknown,
  blockers: Blockers | null,
): AppError {
  const { settings } = context.lock.connection;
  const errno = serverErrno(error);
  const said = `${errno === null ? '' : `${errno} `}${error instanceof Error ? error.message : String(error)}`;
  const message = `${placeOf(context.file, step)} failed: ${said} in: ${excerpt(step.text)}`;
  const options = {
    cause: error,
    details: {
      file: context.file,
      statement: step.number,
      line: step.line,
      ...(errno === null ? {} : { errno }),
      ...(blockers === null ? {} : { blockers: blockers.lines }),
    },
  };
  if (blockers !== null) {
    return migrationError('MIGRATION_BLOCKED', `${message}; ${blockers.lines.join('; ')}`, {
      ...options,
      ...(blockers.hint === null ? {} : { hint: blockers.hint }),
    });
  }
  const failure = databaseFailure(error, { settings, statement: step.text });
  if (failure.code === 'DATABASE_STATEMENT_FAILED')
    return migrationError('MIGRATION_STATEMENT_FAILED', message, options);
  // databaseFailure makes only errors of the common catalogue.
  return commonError(failure.code as keyof typeof commonErrors, message, { ...options, hint: failure.hint });
}
