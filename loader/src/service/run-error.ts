import { explainDatabaseError } from '@tableset/common/database/explain.ts';
import { AppError, commonError } from '@tableset/common/errors.ts';
import type { RunError } from './run-types.ts';

/** The documented error for whatever was thrown. */
export function asAppError(error: unknown): AppError {
  if (error instanceof AppError) return error;
  const known = explainDatabaseError(error);
  return known ?? commonError('INTERNAL', error instanceof Error ? error.message : String(error), { cause: error });
}

/** What the ledger keeps of an error. */
export function runError({ code, message, hint, exit }: AppError): RunError {
  return { code, message, hint, exit };
}
