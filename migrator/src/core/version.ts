import { migrationError } from '../errors.ts';

const versionPattern = /^\d+(?:[._]\d+)*$/;

/**
 * The one form of a version that is stored and compared: leading zeros and trailing `.0` dropped, dots between the parts.
 * `0012` is `12`, Flyway's `1_2_0` is `1.2`. Any number of digits is kept.
 * @throws AppError MIGRATION_VERSION_INVALID
 */
export function canonicalVersion(text: string): string {
  if (!versionPattern.test(text)) {
    throw migrationError('MIGRATION_VERSION_INVALID', `${JSON.stringify(text)} is not a version`);
  }
  const parts = text.split(/[._]/).map((part) => part.replace(/^0+(?=\d)/, ''));
  while (parts.length > 1 && parts.at(-1) === '0') parts.pop();
  return parts.join('.');
}

/**
 * Orders two versions part by part, each an unsigned integer of any length (20 digits occur, beyond what a number holds);
 * a missing part is 0. Negative, zero or positive as for `Array.sort`.
 * @throws AppError MIGRATION_VERSION_INVALID
 */
export function compareVersions(left: string, right: string): number {
  return compareCanonicalVersions(canonicalVersion(left), canonicalVersion(right));
}

/** The same for versions that are known to be canonical, as those of read migrations are. */
export function compareCanonicalVersions(left: string, right: string): number {
  if (!left.includes('.') && !right.includes('.')) return compareDigits(left, right);
  const leftParts = left.split('.');
  const rightParts = right.split('.');
  for (let index = 0; index < Math.max(leftParts.length, rightParts.length); index += 1) {
    const order = compareDigits(leftParts[index] ?? '0', rightParts[index] ?? '0');
    if (order !== 0) return order;
  }
  return 0;
}

// Without leading zeros the longer number is the larger, and equally long ones compare as text.
function compareDigits(left: string, right: string): number {
  if (left.length !== right.length) return left.length - right.length;
  if (left === right) return 0;
  return left < right ? -1 : 1;
}
