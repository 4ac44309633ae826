import type { Output } from '@tableset/common/output/output.ts';
import type { VerbResult } from '@tableset/common/program.ts';
import { canonicalVersion } from './core/version.ts';
import { type OperationSettings, underLock } from './operation.ts';
import { recordApplied, recordOf } from './record-applied.ts';
import { programVersion } from './version.ts';

/**
 * `migrator baseline V`: records that the schema is at version V, so that only newer migrations run.
 * @throws AppError MIGRATION_HISTORY_EXISTS, MIGRATION_VERSION_INVALID
 */
export async function recordBaseline(
  settings: OperationSettings & { readonly version: string },
  output: Output,
  signal: AbortSignal,
): Promise<VerbResult> {
  const version = canonicalVersion(settings.version);
  return await underLock(settings, 'migrate-baseline', { version }, { output, signal }, async (context) => {
    const file = context.folder.migrations.find((migration) => migration.version === version);
    const record = file
      ? { ...recordOf(file), baseline: true }
      : { id: version, name: 'baseline', file: null, checksum: null, repeatable: false, baseline: true };
    await recordApplied(context, [record], `baseline ${programVersion}`);
    return {
      summary: { outcome: 'done', version },
      lines: [`the schema counts as being at version ${version}; older migrations never run`],
    };
  });
}
