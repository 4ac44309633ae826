import { migrationError } from '../../errors.ts';
import { lineCounter } from '../sql-tokens.ts';

/**
 * Puts the values of Flyway's `${placeholders}` into the text.
 * @throws AppError MIGRATION_PLACEHOLDER naming the first one without a value
 */
export function replacePlaceholders(
  text: string,
  values: Readonly<Record<string, string>> | 'off' | undefined,
  file: string,
): string {
  if (values === 'off' || !text.includes('${')) return text;
  const known = new Map(Object.entries(values ?? {}).map(([name, value]) => [name.toLowerCase(), value]));
  const line = lineCounter(text);
  return text.replace(/\$\{([^}\n]*)\}/g, (whole, name: string, offset: number) => {
    const value = known.get(name.toLowerCase());
    if (value === undefined) {
      throw migrationError('MIGRATION_PLACEHOLDER', `${file}:${line(offset)}: ${whole} has no value`, {
        hint: `Give it one with --placeholder ${name}=VALUE (or in MIGRATIONS_PLACEHOLDERS), or take ${whole} as it stands with --placeholder off.`,
      });
    }
    return value;
  });
}
